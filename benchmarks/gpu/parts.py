"""Which parts are there, and how are they run? Each in its own try and share of the time, kept row by row."""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu import ceilings, certify, controls, equality, peers, record, robust_training, seeds, steps, verdict
from benchmarks.gpu.clock import OutOfTime
from benchmarks.gpu.scene import Scene
from spikeproof.choices import UserError

Row = dict[str, Any]
SURPLUS = 0.05  # of the time is kept for a last row that takes longer than was left


@dataclass(frozen=True)
class Part:
    """What `rows` measures. `share` of the time is its own, and what the parts before it left.

    `least` are the seconds that it needs at full size before it can say anything. What is not `usual` wants all of the
    time, and runs only where it is named.
    """

    name: str
    rows: Callable[[Scene], Iterator[Row]]
    share: float
    least: float
    usual: bool = True


PARTS = (
    Part("ceilings", ceilings.rows, 0.03, 5),
    Part("kernels", equality.rows, 0.10, 10),
    Part("steps", steps.rows, 0.23, 20),
    Part("verdict", verdict.rows, 0.23, 30),
    Part("training", robust_training.rows, 0.12, 30),
    Part("certify", certify.rows, 0.06, 20),
    Part("controls", controls.rows, 0.11, 30),
    Part("peers", peers.rows, 0.12, 40),
    Part("record", record.rows, 1.0, 60, usual=False),
    Part("seeds", seeds.rows, 1.0, 60, usual=False),
)


def run(parts: Sequence[Part], scene: Scene, keep: Callable[[dict[str, Row]], None]) -> dict[str, Row]:
    """Each part's status, seconds and rows by its name; `keep` gets all of it after every row."""
    found: dict[str, Row] = {}
    clock, total = scene.clock, sum(part.share for part in parts)
    until = 0.0
    for part in parts:
        until += part.share / total * clock.seconds * (1 - SURPLUS)
        clock.deadline = until
        for row in watched(part, scene):
            found[part.name] = row
            keep(found)
    return found


def watched(part: Part, scene: Scene) -> Iterator[Row]:
    """The part's record so far, after each of its rows; the last one says how it ended."""
    clock, rows = scene.clock, []
    started = clock.passed
    if clock.left < part.least and not scene.tiny:
        yield {"status": "skipped", "reason": f"needs {part.least:g} s, and {max(clock.left, 0):.0f} s were left"}
        return
    ending: Row = {"status": "done"}
    try:
        for row in part.rows(scene):
            rows.append(row)
            yield {"status": "running", "seconds": clock.passed - started, "rows": list(rows)}
            clock.check()
    except OutOfTime:
        ending = {"status": "out of time"}
    except UserError as error:
        ending = {"status": "skipped", "reason": plain(error)}
    except Exception as error:  # whatever it is, the other parts are measured
        traceback.print_exc(file=sys.stderr)
        ending = {"status": "failed", "reason": f"{type(error).__name__}: {plain(error)}"}
    yield ending | {"seconds": clock.passed - started, "rows": rows}


def plain(error: BaseException) -> str:
    """The first line of what is said, without the names of folders."""
    first = (str(error).strip().splitlines() or [""])[0]
    return " ".join(word.rsplit("/", 1)[-1] if word.startswith(("/", "~", "'/")) else word for word in first.split())

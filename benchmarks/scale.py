"""How much faster are two ranks than one? `python -m benchmarks.scale` lets both work in turns, one thread each.

Two Gloo processes on this machine. In each round rank 0 works alone while the other waits, and then both work on the
same. Measured are the wall-clock time, which other programs lengthen, and the processor seconds of the busiest rank,
which leave waiting out. Verdicts that differ are counted. Goal, for an evaluation on an idle machine: 1.7 times.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import spikeproof as sp
from benchmarks.measure import Spread
from benchmarks.records import write_json
from spikeproof.distributed import Ranks, joined
from spikeproof.process import keep_freed_memory
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json

WORKS = ("evaluate", "train")
EPS = (0.05, 0.1)
NETWORK = sp.Network(architecture=sp.SmallCNN(widths=(32, 64, 128)), neuron=sp.LIF(), steps=4)


def recipe(epochs: int, images: int) -> sp.Recipe:
    """A small robust network of the digits."""
    return sp.Recipe(
        name="scale",
        data=sp.Digits(train_images=images),
        network=NETWORK,
        objective=sp.Adversarial(threat=sp.Linf(0.1), attack=sp.PGD(steps=2)),
        training=sp.Training(
            epochs=epochs,
            batch=64,
            optimiser=sp.SGD(learning_rate=0.05),
            selection=sp.Selection(images=64, attack=sp.FGSM(), threat=sp.Linf(0.1)),
        ),
    )


def timed(work: Callable[[Ranks], Any], ranks: Ranks, by: Ranks) -> tuple[float, float, Any]:
    """Seconds on the wall, processor seconds of the busiest rank, and what rank 0 found; `by` are those that work."""
    ranks.wait()
    wall, own = time.perf_counter(), time.process_time()
    found = work(by) if ranks.first or by.size > 1 else None
    own = time.process_time() - own
    ranks.wait()
    return time.perf_counter() - wall, max(ranks.gather(own)), found


def measured(options: argparse.Namespace) -> None:
    """What one rank does: rounds of both workloads; rank 0 writes them down."""
    torch.set_num_threads(1)
    keep_freed_memory()
    folder = Path(options.folder)
    with joined("cpu") as ranks:
        model = sp.train(recipe(3, 512), folder / "network", ranks=ranks)
        images = sp.Digits().part("test").first(options.images)
        protocol = sp.Protocol(threats=[sp.Linf(eps) for eps in EPS], suite=sp.suite_named(options.suite))
        short = recipe(1, 256)
        works: dict[str, Callable[[Ranks], Any]] = {
            "evaluate": lambda by: sp.evaluate(model, images, protocol, ranks=by),
            "train": lambda by: sp.train(short, _fresh(folder, ranks), ranks=by),
        }
        rows = []
        for name, work in works.items():
            for number in range(-1, options.rounds):  # the first, which compiles, does not count
                alone, together = (timed(work, ranks, by) for by in (ranks.alone(), ranks))
                row = {"work": name, "alone": alone[:2], "together": together[:2]}
                if name == "evaluate" and ranks.first:
                    row["differing"] = differing(alone[2], together[2])
                rows += [row] if number >= 0 else []
        if ranks.first:
            (folder / "rows.json").write_text(json.dumps(rows))


def _fresh(folder: Path, ranks: Ranks) -> Path:
    """A run folder that does not exist, the same for all ranks; rank 0 alone looks at it."""
    return folder / f"run-{time.monotonic_ns()}" if ranks.first else folder / "not-mine"


def differing(one: sp.Verdicts, other: sp.Verdicts) -> int:
    """How many images have another verdict, or another cost."""
    pairs = zip(one.arrays().values(), other.arrays().values(), strict=True)
    return int(np.any([a != b for a, b in pairs], axis=0).sum())


def summary(rows: list[dict[str, Any]], work: str) -> dict[str, Any]:
    """Ratios of one rank to two, and the shares of the wall-clock time in which the busiest rank had a core."""
    mine = [row for row in rows if row["work"] == work]
    found: dict[str, Any] = {
        f"times as fast, by {by}": asdict(Spread.of([row["alone"][k] / row["together"][k] for row in mine]))
        for k, by in enumerate(("wall clock", "processor seconds of the busiest rank"))
    }
    for how in ("alone", "together"):
        found[f"seconds {how}"] = [row[how] for row in mine]
        found[f"had a core, {how}"] = sum(row[how][1] for row in mine) / sum(row[how][0] for row in mine)
    if work == "evaluate":
        found["images with another verdict or cost"] = max(row["differing"] for row in mine)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=360)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--out", type=Path, help="JSON file, docs/scale.json for example")
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # of a rank
    options = parser.parse_args()
    if options.folder:
        return measured(options)
    with tempfile.TemporaryDirectory() as folder:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        settings = [f"--{name}={getattr(options, name)}" for name in ("images", "rounds", "suite")]
        command = [*launcher, "-m", "benchmarks.scale", *settings, "--folder", folder]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
        rows = json.loads((Path(folder) / "rows.json").read_text())
    around = {name: value for name, value in as_json(environment()).items() if name != "command"}  # it names folders
    record: dict[str, Any] = {"images": options.images, "rounds": options.rounds, "suite": options.suite, "ranks": 2}
    with suppress(OSError, AttributeError):
        record["programs that wanted a core, mean of the last 5 minutes"] = os.getloadavg()[1]
    record |= {work: summary(rows, work) for work in WORKS} | {"environment": around}
    print(json.dumps(record, indent=1))
    if options.out:
        write_json(options.out, record)


if __name__ == "__main__":
    main()

"""The command line: `python -m benchmarks.gpu [--part NAME] [--network FILE] [--minutes 8] [--out FILE]`."""

import argparse
import re
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.clock import Clock
from benchmarks.gpu.parts import PARTS, Row, run
from benchmarks.gpu.scene import Scene
from benchmarks.records import write_json
from spikeproof.runs import environment
from spikeproof.runs.environments import processor, version
from spikeproof.runs.json_forms import as_json

LIBRARIES = ("triton", "spikingjelly", "snntorch")


def main(arguments: list[str] | None = None) -> int:
    """Measures, writes, and returns 1 where a part failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here: --device cpu --tiny shows that every part runs")
    warnings.filterwarnings("ignore", module="torch|spikingjelly|snntorch")
    chosen = [part for part in PARTS if (part.name in options.part if options.part else part.usual)]
    clock = Clock(60 * options.minutes)
    scene = Scene(device, clock, options.tiny, options.network, options.data_root, options.runs)
    out = options.out or Path("results", "gpu", f"{card(device)}-{datetime.now(UTC):%Y-%m-%d}.json")
    found = run(chosen, scene, writer(out, scene))
    print(f"written to {out}, after {clock.passed:.0f} s")
    return int(any(record["status"] == "failed" for record in found.values()))


def card(device: torch.device) -> str:
    """What computes, as a name for a file."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def writer(out: Path, scene: Scene) -> Callable[[dict[str, Row]], None]:
    """Writes all that was found so far: the file is whole at any time."""
    about = {"made_by": "python -m benchmarks.gpu", "hardware": hardware(scene.device), "versions": versions()}
    about["settings"] = {"tiny": scene.tiny, "minutes": scene.clock.seconds / 60}
    about["date"] = f"{datetime.now(UTC):%Y-%m-%d}"

    def write(found: dict[str, Row]) -> None:
        say(*list(found.items())[-1])
        write_json(out, about | {"parts": found})

    return write


def say(name: str, record: Row) -> None:
    """One line for each part, when it has ended."""
    if record["status"] != "running":
        reason = f": {record['reason']}" if "reason" in record else ""
        print(f"{name}: {record['status']} in {record.get('seconds', 0):.0f} s{reason}", flush=True)


def hardware(device: torch.device) -> dict[str, Any]:
    """What computes, and the host beside it."""
    found: dict[str, Any] = {"device": card(device), "processor": processor(), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= {
            "name": about.name,
            "memory_gib": about.total_memory / 2**30,
            "multiprocessors": about.multi_processor_count,
            "capability": f"{about.major}.{about.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def versions() -> dict[str, str]:
    known: dict[str, str] = as_json(environment())["versions"]
    return known | {name: version(name) for name in LIBRARIES}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="what is true of spikeproof on a GPU")
    names = [part.name for part in PARTS]
    parser.add_argument(
        "--part",
        action="append",
        choices=names,
        help="only this one; may be given several times (record and seeds run only if named)",
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ..., or cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does every part run? (no meaningful numbers)")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="what does not fit is left out, and said (default 8)"
    )
    parser.add_argument(
        "--network", type=Path, metavar="FILE", help="weights of a robust network for CIFAR-10, FILE.json beside them"
    )
    parser.add_argument(
        "--runs", type=Path, metavar="FOLDER", default=Scene.runs, help="where networks that are trained stay"
    )
    parser.add_argument("--data-root", type=Path, metavar="FOLDER", help="the data sets (default: SPIKEPROOF_DATA)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the JSON goes (default: results/gpu/CARD-DATE.json)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

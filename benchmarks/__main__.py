"""The command line: `python -m benchmarks [--quick] [--device cuda] [--profile] [--layouts] [--only TEXT]`."""

import argparse
import os
import warnings
from pathlib import Path

import torch

from benchmarks import report
from benchmarks.agreement import same_in_float64
from benchmarks.contestants import Contestant, Ours, SpikingJelly, contestants
from benchmarks.hotspots import hotspots
from benchmarks.results import attack_view_cost, compare
from benchmarks.warm_up import SIZES, warm_up
from benchmarks.workloads import Setting, workloads
from spikeproof.process import keep_freed_memory


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = torch.device(options.device)
    sizes_name = "quick" if options.quick else device.type
    sizes = SIZES[sizes_name]
    backend = "aot_eager" if options.quick else "inductor"  # the quick run compiles nothing
    settings = {"sizes": sizes_name, "device": device.type, "threads": 1, "backend": backend}
    settings["keeps_freed_memory"] = keep_freed_memory()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="torch|spikingjelly|snntorch")
    vgg = options.quick or device.type == "cuda"
    todo = [w for w in workloads(sizes, vgg=vgg) if options.only in w.name]
    at = Setting(device)
    if options.profile:
        report.show_hotspots({w.name: hotspots(w, Setting(device, autocast=w.autocast)) for w in todo})
        return
    taking_part = _layouts() if options.layouts else contestants(backend)
    agreement = {} if options.layouts else same_in_float64(sizes, device, vgg=vgg)
    found = {}
    for workload in todo:
        found[workload.name] = compare(workload, taking_part, sizes.rounds, Setting(device, autocast=workload.autocast))
        report.show_progress(workload.name, found[workload.name])
    results = report.collect(found, agreement, settings)
    if not options.layouts and not options.only:
        results["attack_view"] = attack_view_cost(sizes, at)
        results["warm_up"] = warm_up(sizes_name, device.type, backend)
    report.show(results)
    report.write(results, options.out)


def _layouts() -> list[Contestant]:
    """Ours in either memory layout: where does channels_last pay on this machine?"""
    return [SpikingJelly(), Ours("contiguous", channels_last=False), Ours("channels_last", channels_last=True)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="spikeproof beside its peers, as ratios")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: is everything in order? (no meaningful ratios)"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--profile", action="store_true", help="only: where our own time goes, by kind of operator")
    parser.add_argument("--layouts", action="store_true", help="only: our two memory layouts against each other")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the workloads with this in their name")
    parser.add_argument("--out", type=Path, default=Path("build", "benchmark.json"), help="where the JSON goes")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

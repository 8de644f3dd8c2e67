"""What does each fusion save on this machine? The same call with and without it, in pairs.

A fusion is left out by a hook on a layer of it: who watches a layer gets the layers one by one (`snn/bodies.py`).
`python -m benchmarks.fusions [--device cuda] [--autocast] [--out FILE]`; in one thread on a CPU.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.contestants import Ours
from benchmarks.measure import alternate, saved_bytes
from benchmarks.records import write_json
from benchmarks.workloads import Problem, Setting, inference, pgd_step, train_step
from spikeproof.process import keep_freed_memory
from spikeproof.snn import VGG, Architecture, SmallCNN, SpikingNetwork, WideResNet
from spikeproof.snn.layers import MeanPool, Norm

NETWORKS: dict[str, tuple[Architecture, int]] = {  # and images in a batch
    "SmallCNN (16, 32, 64)": (SmallCNN(widths=(16, 32, 64)), 64),
    "SmallCNN (64, 128, 256)": (SmallCNN(widths=(64, 128, 256)), 16),
    "VGG-11": (VGG(hidden=(512,)), 8),
    "WRN-16-4": (WideResNet(), 4),
}
FUSIONS: dict[str, Callable[[nn.Module], list[nn.Module]]] = {
    "pooling": lambda net: [m for m in net.modules() if isinstance(m, MeanPool)],
    "join and norm": lambda net: [m for m in net.modules() if isinstance(m, Norm)],
}
ACTIONS = {"PGD step": pgd_step, "inference": inference, "training step": train_step}


class Without(Ours):
    """Ours, with some layers watched."""

    def __init__(self, name: str, layers: Callable[[nn.Module], list[nn.Module]]) -> None:
        super().__init__(name)
        self.layers = layers

    def network(self, model: SpikingNetwork) -> nn.Module:
        return self._watched(super().network(model))

    def attacked(self, model: SpikingNetwork) -> nn.Module:
        return self._watched(super().attacked(model))  # a view has its model's hooks no more

    def _watched(self, net: nn.Module) -> nn.Module:
        for layer in self.layers(net):
            layer.register_forward_hook(_look)
        return net


def _look(module: nn.Module, inputs: Any, output: Any) -> None:
    """Nothing is done with what is seen."""


def savings(problem: Problem, rounds: int, at: Setting) -> Iterator[dict[str, Any]]:
    """By fusion and call: how many times longer it takes without it, MiB kept, how far the answers are apart."""
    for fusion, layers in FUSIONS.items():
        if not layers(problem.model(at)):
            continue
        for action, prepare in ACTIONS.items():
            usual, other = prepare(Ours(), at, problem), prepare(Without(fusion, layers), at, problem)
            apart = {key: _apart(one, two) for (key, one), two in zip(usual().items(), other().values(), strict=True)}
            times = alternate({"with": usual, "without": other}, rounds, at.device)
            kept = {which: saved_bytes(call) / 2**20 for which, call in (("with", usual), ("without", other))}
            ratio = asdict(times.ratio("without", "with"))
            yield {"fusion": fusion, "call": action, "ratio": ratio, "apart": apart, "MiB kept": kept}


def _apart(one: torch.Tensor, two: torch.Tensor) -> float:
    """The share of images whose rows differ by more than rounding."""
    size = one.flatten(1).abs().amax(1).clamp(min=1e-12)
    return ((one - two).flatten(1).abs().amax(1) > 1e-3 * size).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--autocast", action="store_true", help="in bfloat16")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--times", type=int, default=1, help="so many times as many images")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", default="", metavar="TEXT", help="only the networks with this in their name")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    warnings.filterwarnings("ignore", module="torch")
    at = Setting(torch.device(options.device), autocast=torch.bfloat16 if options.autocast else None)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, (architecture, batch) in NETWORKS.items():
        if options.only in name:
            problem, found[name] = Problem(architecture, options.steps, options.side, batch * options.times), []
            for row in savings(problem, options.rounds, at):
                found[name].append(row)
                print(json.dumps({"network": name} | row), flush=True)
    if options.out:
        write_json(options.out, {"settings": vars(options) | {"out": None}, "found": found})


if __name__ == "__main__":
    main()

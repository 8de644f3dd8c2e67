"""How long must a step take at least? By its multiply-adds, or by the bytes that its neurons have to move."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.ceilings import Ceilings
from spikeproof.snn.neurons import SpikingLayer

# Bytes that a neuron moves in a step: currents, spikes and their gradients; without a backward, a current and a spike.
BYTES = {"pgd": 30, "training": 30, "inference": 8}
OPERATIONS = {"pgd": 4, "training": 6, "inference": 2}  # for each multiply-add of a forward


@dataclass(frozen=True)
class Work:
    """What one image costs in a forward: multiply-adds of its layers, and neurons times steps."""

    multiply_adds: int
    neuron_steps: int


def work_of(model: nn.Module, shape: tuple[int, ...]) -> Work:
    """Counted by hooks in a forward of one image; what is computed once for all steps counts once."""
    multiply_adds: list[int] = []
    neuron_steps: list[int] = []

    def note(module: nn.Module, _: Any, answer: Any) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            multiply_adds.append(answer.numel() * module.weight[0].numel())
        elif isinstance(module, SpikingLayer):
            neuron_steps.append(answer.numel())

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad():
            model(torch.rand(1, *shape, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return Work(sum(multiply_adds), sum(neuron_steps))


def floor(what: str, work: Work, images: int, dtype: torch.dtype, ceilings: Ceilings) -> dict[str, Any]:
    """The least milliseconds of a step on so many images, by arithmetic and by bytes, and which of them is more."""
    arithmetic = 1e3 * OPERATIONS[what] * work.multiply_adds * images / ceilings.operations(dtype)
    moved = 1e3 * BYTES[what] * work.neuron_steps * images / ceilings.bytes
    return {
        "arithmetic_ms": arithmetic,
        "bytes_ms": moved,
        "floor_ms": max(arithmetic, moved),
        "by": "arithmetic" if arithmetic >= moved else "bytes",
    }

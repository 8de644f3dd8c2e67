"""Do the fast kernels equal the readable neuron on this device, in spikes and in every gradient?

A kernel may fuse a product and a sum that the reference rounds one by one. A potential at its threshold then falls the
other way, once in millions. So a small share of spikes may differ, and gradients are held against each other where a
neuron's spikes agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.agreement import Disagreement
from benchmarks.gpu.scene import Scene
from spikeproof.calling import in_full_precision
from spikeproof.choices import short
from spikeproof.snn import IF, LIF, PLIF, ATan
from spikeproof.snn.dynamics import integrate
from spikeproof.snn.neurons import SpikingLayer, SpikingNeuron

FLIPPED = 1e-5  # share of spikes that may differ
BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}  # relative, of gradients
SHAPE, TINY_SHAPE = (64, 64, 32, 32), (3, 4, 2, 2)  # without time


@dataclass(frozen=True)
class Case:
    """Neurons over some steps in one number format and memory layout."""

    neuron: SpikingNeuron
    steps: int
    dtype: torch.dtype
    channels_last: bool = True


CASES = (
    Case(LIF(), 4, torch.float32),
    Case(LIF(), 4, torch.bfloat16),
    Case(IF(learn_threshold=True), 4, torch.float32, channels_last=False),
    Case(PLIF(reset="soft"), 8, torch.float32),
    Case(LIF(detach_reset=True, gradient=ATan(alpha=10.0)), 8, torch.float64),
)


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """How far each case is from the reference; raises `Disagreement` at the end for those that are too far."""
    wrong = []
    for case in CASES:
        found = compared(case, TINY_SHAPE if scene.tiny else SHAPE, scene.device)
        if not found["equal"]:
            wrong.append(f"{found['neuron']}, T={case.steps}, {found['dtype']}")
        yield found
    if wrong:
        raise Disagreement(f"kernels differ from the reference: {'; '.join(wrong)}")


def compared(case: Case, shape: tuple[int, ...], device: torch.device) -> dict[str, Any]:
    layer = case.neuron.layer(case.steps).to(device)
    x, onward = (drawn(case, shape, device, seed) for seed in (0, 1))
    x = x.add(0.5).requires_grad_()
    with in_full_precision():
        spikes, *found = differentiated(layer, layer(x), x, onward)
        expected, *wanted = differentiated(layer, readable(layer, x), x, onward)
    same = (spikes == expected).all(0)
    flipped = float((spikes != expected).double().mean())
    apart = {"x": distance(found[0][:, same], wanted[0][:, same])}
    apart |= {name: distance(*pair) for name, *pair in zip(named(layer), found[1:], wanted[1:], strict=True)}
    return {
        "neuron": short(case.neuron),
        "steps": case.steps,
        "dtype": str(case.dtype).removeprefix("torch."),
        "neurons": same.numel(),
        "spikes_that_differ": flipped,
        "rate": float(expected.double().mean()),
        "gradients_apart": apart,
        "equal": flipped <= FLIPPED and all(value <= BOUNDS[case.dtype] for value in apart.values()),
    }


def drawn(case: Case, shape: tuple[int, ...], device: torch.device, seed: int) -> Tensor:
    """Normal numbers ``[T, B, C, H, W]``, the same on every device."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(case.steps, *shape, generator=random).to(device, case.dtype)
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    return x.flatten(0, 1).contiguous(memory_format=layout).unflatten(0, x.shape[:2])


def readable(layer: nn.Module, x: Tensor) -> Tensor:
    """What the layer computes, by the reference."""
    assert isinstance(layer, SpikingLayer)
    return integrate(x, layer.dynamics(), layer.gradient).spikes  # type: ignore[arg-type]


def named(layer: nn.Module) -> list[str]:
    return [name for name, _ in layer.named_parameters()]


def differentiated(layer: nn.Module, spikes: Tensor, x: Tensor, onward: Tensor) -> tuple[Tensor, ...]:
    """The spikes, and the gradients on `x` and on the layer's parameters."""
    return spikes.detach(), *torch.autograd.grad(spikes, [x, *layer.parameters()], onward)


def distance(found: Tensor, expected: Tensor) -> float:
    """Relative, in the Euclidean norm."""
    found, expected = found.double(), expected.double()
    return float((found - expected).norm() / expected.norm().clamp(min=torch.finfo(torch.float64).tiny))

"""Do the fast kernels equal the readable neuron on this device, in spikes and in every gradient?

Layers are compared one by one; whole networks, with all that is fused in them, under attack and in float64.

In float32 a kernel may fuse a product and a sum that the reference rounds one by one. A potential at its threshold then
falls the other way, once in millions. So a small share of a layer's spikes may differ, and gradients are held against
each other where a neuron's spikes agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.agreement import ROUNDING, Disagreement
from benchmarks.gpu.scene import Scene
from benchmarks.workloads import Problem, Readable, Setting
from spikeproof.calling import in_full_precision
from spikeproof.choices import short
from spikeproof.snn import IF, LIF, PLIF, VGG, ATan, SEWResNet, WideResNet, attack_view, view
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


NETWORKS = {"WRN-16-4": WideResNet(depth=16, widen=4), "VGG-11": VGG(), "SEW-ResNet-18": SEWResNet(depth=18)}
TINY_NETWORKS = {
    "WRN-16-4": WideResNet(widths=(2, 3, 4), blocks=(1, 1, 1)),
    "VGG-11": VGG(stages=((2,), (3,)), hidden=(4,)),
    "SEW-ResNet-18": SEWResNet(widths=(2, 3), blocks=(1, 1)),
}


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """How far each case is from the reference; raises `Disagreement` at the end for those that are too far."""
    wrong = []
    for found in chain(layers(scene), networks(scene)):
        if not found["equal"]:
            wrong.append(f"{found['what']}, T={found['steps']}, {found['dtype']}")
        yield found
    if wrong:
        raise Disagreement(f"kernels differ from the reference: {'; '.join(wrong)}")


def layers(scene: Scene) -> Iterator[dict[str, Any]]:
    shape = TINY_SHAPE if scene.tiny else SHAPE
    return (compared(case, shape, scene.device) for case in CASES)


def networks(scene: Scene) -> Iterator[dict[str, Any]]:
    side, batch = (8, 3) if scene.tiny else (32, 16)
    chosen = TINY_NETWORKS if scene.tiny else NETWORKS
    return (attacked(name, Problem(each, 4, side, batch), scene.device) for name, each in chosen.items())


def attacked(name: str, problem: Problem, device: torch.device) -> dict[str, Any]:
    """How far a network's logits, and its gradient on the images, are from those of the readable one."""
    at = Setting(device, torch.float64)
    model, x, y = problem.model(at), problem.images(at), problem.labels(at)
    fast, slow = (answered(attack_view(each), x, y) for each in (model, view(model, gradient=Readable())))
    apart = {what: distance(*pair) for what, *pair in zip(("logits", "images"), fast, slow, strict=True)}
    return {
        "what": name,
        "steps": problem.steps,
        "dtype": "float64",
        "gradients_apart": apart,
        "equal": bool(slow[1].any()) and all(value <= ROUNDING for value in apart.values()),
    }


def answered(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of the loss on the images."""
    x = x.detach().requires_grad_()
    logits = model(x)
    return logits.detach(), *torch.autograd.grad(cross_entropy(logits, y, reduction="sum"), x)


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
        "what": short(case.neuron),
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

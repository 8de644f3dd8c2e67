"""How many operations does a pass take? Those of every layer of weights, counted as NeuroBench counts them.

Weight times input counts where both are not 0: an accumulation (AC) if the layer's whole input is 0, 1 or -1, else a
multiplication (MAC). Dense counts take all of both. Biases, batch norms, pooling and the neurons themselves are left
out. Source: Yik et al., Nature Communications 2025, version 2.3 of its package.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spikeproof.snn.foreign import fires
from spikeproof.snn.layers import MeanPool
from spikeproof.snn.network import SpikingNetwork
from spikeproof.snn.neurons import ACTIVATIONS, GradedLayer, SpikingLayer

__all__ = ["Call", "LayerOperations", "Operations", "operations", "weights_called"]

AXES: dict[type[nn.Module], int] = {nn.Linear: 1, nn.Conv1d: 2, nn.Conv2d: 3, nn.Conv3d: 4}  # of one row of the input
POOLS = (MeanPool, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
WHOLE = 1e-4  # a number of spikes that is a mean of many is whole up to rounding


@dataclass(frozen=True)
class Call:
    """One call of a layer of weights. Its input is made of spikes of size `weight`, of which `pooled` have one mean.

    `pooled` is None where there are no spikes. The weight is a threshold where spikes weigh theirs, and 1 elsewhere:
    the next layer's weights can be multiplied by it.
    """

    name: str
    layer: nn.Module
    input: Tensor
    pooled: float | None
    weight: Tensor | float

    @property
    def spikes(self) -> Tensor | None:
        """How many spikes each entry of the input stands for; None where it is not made of spikes."""
        return None if self.pooled is None else self.input * (self.pooled / self.weight)

    def fan_out(self, dense: bool = False) -> Tensor:
        """How many weights meet each entry of a row of the input, those of 0 left out unless `dense`."""
        weight = cast(Tensor, self.layer.weight).detach()
        counted = torch.ones_like(weight) if dense else (weight != 0).to(weight.dtype)
        tensors = {"weight": counted}
        if isinstance(bias := self.layer.bias, Tensor):
            tensors["bias"] = torch.zeros_like(bias)
        row = self.input.new_zeros(*[1] * (self.input.ndim - self.axes), *self.input.shape[-self.axes :])
        with torch.enable_grad():
            row.requires_grad_()
            (found,) = torch.autograd.grad(functional_call(self.layer, tensors, row).sum(), row)
        return found.flatten().double()

    @property
    def axes(self) -> int:
        return next(axes for kind, axes in AXES.items() if isinstance(self.layer, kind))

    @property
    def rows(self) -> int:
        """How many rows the input has: those of all images, of all their steps."""
        return self.input.shape[: -self.axes].numel()

    def per_image(self, values: Tensor, fan_out: Tensor, images: int) -> Tensor:
        """`values`, in the shape of the input, each as often as its fan-out says, summed over an image's rows ``[B]``.

        Rows of an image are its time steps, which come before the images.
        """
        rows = values.flatten(-self.axes).to(fan_out.dtype) @ fan_out
        return rows.reshape(-1, images).sum(0)


@dataclass
class LayerOperations:
    """Operations of one layer of weights, an image each ``[B]``; `dense` is the same for all.

    `spikewise` are its accumulations if the spikes that a mean pooling joins are handed on one by one, as a sum pooling
    with smaller weights does on hardware; where its input is not made of spikes, it is None and `macs` stand.
    `constant`: its input is the same at every step, and it is computed once.
    """

    macs: Tensor
    acs: Tensor
    dense: float
    spikewise: Tensor | None
    constant: bool


@dataclass
class Operations:
    """What a pass took: `layers` of weights by name, and the `active` of all `activations` of neurons, an image."""

    layers: dict[str, LayerOperations] = field(default_factory=dict)
    active: Tensor | None = None
    activations: int = 0
    steps: int = 1


def operations(model: nn.Module, x: Tensor) -> Operations:
    """The operations of one pass over images `x`; call it in eval mode and without a gradient.

    A network of another library, too. Batch and time of its layers' inputs are ``[T * B, ...]``, or ``[B, ...]`` a
    step.
    """
    found = Operations(steps=model.steps if isinstance(model, SpikingNetwork) else 1)
    with weights_called(model) as calls, _activations_of(model, found, len(x)):
        model(x)
    for call in calls:
        _add(found.layers, call.name, _of(call, len(x), found.steps))
    return found


class _Made:
    """Of what spikes tensors are made, by the storage that they lie in: a view of a tensor lies where it does.

    A tensor that was not added, a sum of two for example, is taken for what came last.
    """

    def __init__(self) -> None:
        self.last: tuple[float | None, Tensor | float] = (None, 1.0)
        self.known: dict[int, tuple[Tensor, float | None, Tensor | float]] = {}  # held, so that no memory is used twice

    def add(self, x: Tensor, pooled: float | None, weight: Tensor | float = 1.0) -> None:
        self.last = pooled, weight
        self.known[x.untyped_storage()._cdata] = x, pooled, weight

    def of(self, x: Tensor) -> tuple[float | None, Tensor | float]:
        found = self.known.get(x.untyped_storage()._cdata)
        return self.last if found is None else found[1:]


@contextmanager
def weights_called(model: nn.Module) -> Iterator[list[Call]]:
    """The calls of layers of weights while the block runs, in their order; nothing stays on the modules afterwards."""
    calls: list[Call] = []
    made = _Made()

    def weights(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            calls.append(Call(name, layer, inputs[0], *made.of(inputs[0])))

        return hook

    def neurons(layer: nn.Module, inputs: Any, output: Any) -> None:
        made.add(output[0] if isinstance(output, tuple) else output, None if isinstance(layer, ACTIVATIONS) else 1.0)

    def graded(layer: GradedLayer, inputs: Any, output: Tensor) -> None:
        made.add(output, 1.0, layer.level().detach())

    def pool(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pooled, weight = made.of(inputs[0])
        if pooled is not None:
            area = inputs[0].shape[-2:].numel() / output.shape[-2:].numel()
            pooled *= area if isinstance(layer, nn.AdaptiveAvgPool2d) else _area(getattr(layer, "kernel_size", 2))
        made.add(output, pooled, weight)

    handles: list[Any] = []
    weighted = tuple(AXES)
    for name, module in model.named_modules():
        if isinstance(module, weighted):
            handles.append(module.register_forward_hook(weights(name)))
        elif _is_active(module):
            handles.append(module.register_forward_hook(neurons))
        elif isinstance(module, GradedLayer):
            handles.append(module.register_forward_hook(graded))
        elif isinstance(module, POOLS):
            handles.append(module.register_forward_hook(pool))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _activations_of(model: nn.Module, found: Operations, images: int) -> Iterator[None]:
    """Count the outputs of neurons, or of an ANN's units, that are not 0."""

    ours = any(isinstance(module, SpikingNetwork) for module in model.modules())

    def count(layer: nn.Module, inputs: Any, output: Any) -> None:
        spikes = (output[0] if isinstance(output, tuple) else output).detach()
        axis = 2 if ours or len(spikes) != images else 1  # [T, B, *n], or [B, *n] of a step
        active = (spikes != 0).flatten(axis).sum(-1).reshape(-1, images).sum(0)
        found.active = active if found.active is None else found.active + active
        found.activations += spikes.numel() // images

    handles = [module.register_forward_hook(count) for module in model.modules() if _is_active(module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of(call: Call, images: int, steps: int) -> LayerOperations:
    given = call.input.detach()
    fan_out, zero = call.fan_out(), torch.zeros(images, dtype=torch.float64, device=given.device)
    effective = call.per_image(given != 0, fan_out, images)
    binary = bool(((given == 0) | (given.abs() == 1)).all())
    spikewise = effective if binary else None
    if not binary and call.spikes is not None:
        spikes = call.spikes.detach().double()
        if bool(((spikes - spikes.round()).abs() < WHOLE).all() & (spikes >= -WHOLE).all()):
            spikewise = call.per_image(spikes.round(), fan_out, images)
    return LayerOperations(
        macs=zero if binary else effective,
        acs=effective if binary else zero,
        dense=float(call.fan_out(dense=True).sum()) * call.rows / images,
        spikewise=spikewise,
        constant=steps > 1 and call.rows == images,
    )


def _add(layers: dict[str, LayerOperations], name: str, new: LayerOperations) -> None:
    """Another call of a layer, as another library's networks make one a step."""
    if name not in layers:
        layers[name] = new
        return
    old = layers[name]
    both = None if old.spikewise is None or new.spikewise is None else old.spikewise + new.spikewise
    layers[name] = LayerOperations(old.macs + new.macs, old.acs + new.acs, old.dense + new.dense, both, False)


def _is_active(module: nn.Module) -> bool:
    return isinstance(module, (SpikingLayer, *ACTIVATIONS)) or fires(module)


def _area(size: Any) -> float:
    return float(size**2 if isinstance(size, int) else size[0] * size[1])

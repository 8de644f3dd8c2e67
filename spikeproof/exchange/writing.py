"""Which nodes are the layers of a network? One function a kind of layer, and the neurons' equation in NIR's terms.

NIR says tau v' = (v_leak - v) + r x. An Euler step of dt with tau = dt / (1 - leak) and r = 1 / (1 - leak) is our
v = leak v + x. A leak of 1 is IF with r = 1 / dt.
"""

from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.exchange.library import nir
from spikeproof.exchange.sheets import Sheet, Wire
from spikeproof.snn.architectures.resnet import AddThenFire, FireThenAdd
from spikeproof.snn.architectures.wide_resnet import PreActivationBlock
from spikeproof.snn.layers import ConvexCombination, MeanPool, Norm, PerStep, Pointwise
from spikeproof.snn.neurons import LeakyLayer

FOREVER = 1e9  # time steps: as tau it makes a leak of 1 in float32


@singledispatch
def written(layer: nn.Module, sheet: Sheet, wire: Wire) -> Wire:
    """Write `layer`, which `wire` leads to, onto `sheet`; the wire that leads on from it."""
    raise TypeError(f"{type(layer).__name__} has no node")


def can_be_written(layer: nn.Module) -> bool:
    """Whether there is a function for layers of this kind."""
    return written.dispatch(type(layer)) is not written.dispatch(nn.Module)


@written.register
def _(layers: nn.Sequential, sheet: Sheet, wire: Wire) -> Wire:
    for layer in layers:
        wire = written(layer, sheet, wire)
    return wire


@written.register(nn.Identity)
@written.register(nn.Dropout)
def _(layer: nn.Module, sheet: Sheet, wire: Wire) -> Wire:
    return wire


@written.register
def _(layer: nn.Linear, sheet: Sheet, wire: Wire) -> Wire:
    return sheet.put(nir().Affine(*_weights(layer, wire)), wire, (layer.out_features,))


@written.register
def _(layer: nn.Conv2d, sheet: Sheet, wire: Wire) -> Wire:
    return _convolution(layer, layer.stride, sheet, wire)


@written.register
def _(layer: Pointwise, sheet: Sheet, wire: Wire) -> Wire:
    return _convolution(layer, (layer.every, layer.every), sheet, wire)


@written.register
def _(norm: Norm, sheet: Sheet, wire: Wire) -> Wire:
    return sheet.diagonal(wire, *map(_array, norm.affine()))


@written.register(MeanPool)
@written.register(nn.AvgPool2d)
@written.register(nn.AdaptiveAvgPool2d)
def _(pool: nn.Module, sheet: Sheet, wire: Wire) -> Wire:
    size = wire.shape[1:] if isinstance(pool, nn.AdaptiveAvgPool2d) else _pair(getattr(pool, "kernel_size", 2))
    stride, padding = _pair(getattr(pool, "stride", size)), _pair(getattr(pool, "padding", 0))
    means, shape = sheet.consumer.means, _shape(pool, wire)
    node = (nir().AvgPool2d if means else nir().SumPool2d)(*map(np.array, (size, stride, padding)))
    return sheet.put(node, wire, shape, wire.factor / (1 if means else size[0] * size[1]))


@written.register
def _(layer: nn.Flatten, sheet: Sheet, wire: Wire) -> Wire:
    if len(wire.shape) == 1:
        return wire
    # Counted from the end, so that it means the same with a batch before it and without.
    node = nir().Flatten({"input": np.array(wire.shape)}, -len(wire.shape), -1)
    return sheet.put(node, wire, _shape(layer, wire), wire.factor)


@written.register
def _(layer: LeakyLayer, sheet: Sheet, wire: Wire) -> Wire:
    wire, dynamics = sheet.settled(wire), layer.dynamics()
    node = _neurons(dynamics.leak.item(), dynamics.threshold.item(), sheet, wire.shape)
    return sheet.put(node, wire, wire.shape)


@written.register
def _(block: PreActivationBlock, sheet: Sheet, wire: Wire) -> Wire:
    spikes = written(block.first, sheet, wire)
    new = written(block.third, sheet, written(block.second, sheet, spikes))
    past = written(block.shortcut, sheet, spikes) if isinstance(block.shortcut, PerStep) else wire
    a, b = block.join.weights.tolist()
    return sheet.joined(sheet.scaled(new, a), sheet.scaled(past, b))


@written.register
def _(block: AddThenFire, sheet: Sheet, wire: Wire) -> Wire:
    branches = written(block.residual, sheet, wire), written(block.shortcut, sheet, wire)
    return written(block.fire, sheet, sheet.joined(*branches))


@written.register
def _(block: FireThenAdd, sheet: Sheet, wire: Wire) -> Wire:
    return sheet.joined(written(block.residual, sheet, wire), written(block.shortcut, sheet, wire))


@written.register
def _(join: ConvexCombination, sheet: Sheet, wire: Wire) -> Wire:
    return wire  # its block writes it


def _neurons(leak: float, threshold: float, sheet: Sheet, shape: tuple[int, ...]) -> Any:
    """The node of neurons that step as v = leak v + x and fire at v >= threshold."""
    consumer, dt = sheet.consumer, sheet.consumer.dt

    def all_of(value: float) -> np.ndarray:
        return np.full(shape, value)  # float64: in float32 tau / dt would not be a whole number again

    if leak == 1 and consumer.has_if:
        return nir().IF(r=all_of(1 / dt), v_threshold=all_of(_above(threshold, sheet)), v_reset=all_of(0.0))
    decay = 1 / FOREVER if leak == 1 else 1 - leak
    # Who reads no r sees potentials (1 - leak) times ours, and so needs such thresholds.
    r, threshold = (1 / decay, threshold) if consumer.reads_r else (1.0, threshold * decay)
    return nir().LIF(
        tau=all_of(dt / decay),
        r=all_of(r),
        v_leak=all_of(0.0),
        v_threshold=all_of(_above(threshold, sheet)),
        v_reset=all_of(0.0),
    )


def _above(threshold: float, sheet: Sheet) -> float:
    """What v > v_threshold has to be held against, so that a potential equal to our threshold fires too."""
    if sheet.consumer.fires_at:
        return threshold
    return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))


def _convolution(layer: nn.Conv2d, stride: tuple[int, ...], sheet: Sheet, wire: Wire) -> Wire:
    weight, bias = _weights(layer, wire)
    padding = layer.padding if isinstance(layer.padding, str) else tuple(layer.padding)
    node = nir().Conv2d(wire.shape[1:], weight, tuple(stride), padding, tuple(layer.dilation), layer.groups, bias)
    return sheet.put(node, wire, _shape(layer, wire))


def _weights(layer: nn.Linear | nn.Conv2d, wire: Wire) -> tuple[np.ndarray, np.ndarray]:
    """Weight, with the factor of the wire, and bias; zeros where there is none, as readers need one."""
    weight = _array(layer.weight) * np.float32(wire.factor)
    return weight, np.zeros(len(weight), np.float32) if layer.bias is None else _array(layer.bias)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().contiguous().numpy()


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _shape(layer: nn.Module, wire: Wire) -> tuple[int, ...]:
    """The shape that `layer` gives, of one image in one step."""
    like = next(layer.parameters(), torch.empty(0))
    return tuple(layer(like.new_zeros(1, *wire.shape)).shape[1:])

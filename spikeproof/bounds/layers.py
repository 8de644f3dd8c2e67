"""What is known behind the layers between the neurons, behind containers, and behind residual blocks?"""

import math
from functools import reduce
from typing import cast

from torch import Tensor, nn

from spikeproof.bounds.affine import added, map_of, mapped, mean_map, norm_map, normalise_map, scaled
from spikeproof.bounds.rules import How, bounded, rule
from spikeproof.bounds.signals import Box, Range, Signal
from spikeproof.snn.architectures.resnet import AddThenFire, FireThenAdd
from spikeproof.snn.architectures.wide_resnet import PreActivationBlock
from spikeproof.snn.bodies import Body
from spikeproof.snn.layers import ConvexCombination, MeanPool, Norm, Normed, PerStep, Pointwise
from spikeproof.snn.network import Normalise
from spikeproof.snn.neurons import ClipFloorShift


@rule(nn.Sequential, PerStep, Norm, Body)
def of_sequence(layers: nn.Sequential, signal: Signal, how: How) -> Signal:
    return reduce(lambda known, layer: bounded(layer, known, how), layers, signal)


@rule(Normed)
def of_normed(layer: Normed, signal: Signal, how: How) -> Signal:
    if not layer.foldable:
        return of_sequence(layer, signal, how)
    return mapped(signal, map_of(cast(nn.Linear, layer[0]), *layer.folded()), how.rounding)


@rule(nn.Conv2d, nn.Linear, Pointwise)
def of_weights(layer: nn.Conv2d | nn.Linear, signal: Signal, how: How) -> Signal:
    return mapped(signal, map_of(layer, layer.weight, layer.bias), how.rounding)


@rule(nn.BatchNorm1d, nn.BatchNorm2d)
def of_norm(layer: nn.Module, signal: Signal, how: How) -> Signal:
    return mapped(signal, norm_map(layer), how.rounding)


@rule(Normalise)
def of_normalise(layer: Normalise, signal: Signal, how: How) -> Signal:
    return mapped(signal, normalise_map(layer), how.rounding)


@rule(MeanPool, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
def of_means(layer: nn.Module, signal: Signal, how: How) -> Signal:
    before = signal.each.low[:1, :1].flatten(0, 1)
    terms = math.ceil(before[0, 0].numel() / layer(before)[0, 0].numel())
    return mapped(signal, mean_map(layer, max(terms, _window(layer))), how.rounding)


def _window(layer: nn.Module) -> int:
    size = getattr(layer, "kernel_size", 2)
    return math.prod(size) if isinstance(size, tuple) else size**2


@rule(nn.Flatten)
def of_flatten(layer: nn.Flatten, signal: Signal, how: How) -> Signal:
    return mapped(signal, mean_map(layer, 1), False)


@rule(nn.Identity, nn.Dropout, nn.Dropout2d)
def of_identity(layer: nn.Module, signal: Signal, how: How) -> Signal:
    return signal


@rule(nn.MaxPool2d, nn.ReLU)
def of_rising(layer: nn.Module, signal: Signal, how: How) -> Signal:
    """A layer that is exact, and never falls where its input rises: its ends are its values at the ends."""
    return Box(Range(*(_per_step(layer, end) for end in signal.each)))


@rule(ClipFloorShift)
def of_levels(layer: ClipFloorShift, signal: Signal, how: How) -> Signal:
    """At a jump the quotient may be rounded to either side."""
    known = signal.each.widened(layer.learned_bound().detach() * 2.0**-21) if how.rounding else signal.each
    return Box(Range(*(layer(end) for end in known)))


@rule(AddThenFire)
def of_add_then_fire(block: AddThenFire, signal: Signal, how: How) -> Signal:
    both = (bounded(block.residual, signal, how), bounded(block.shortcut, signal, how))
    return bounded(block.fire, added(*both, how.rounding), how)


@rule(FireThenAdd)
def of_fire_then_add(block: FireThenAdd, signal: Signal, how: How) -> Signal:
    return added(bounded(block.residual, signal, how), bounded(block.shortcut, signal, how), how.rounding)


@rule(PreActivationBlock)
def of_pre_activation(block: PreActivationBlock, signal: Signal, how: How) -> Signal:
    spikes = bounded(block.first, signal, how)
    past = bounded(block.shortcut, spikes if isinstance(block.shortcut, PerStep) else signal, how)
    x = bounded(block.third, bounded(block.second, spikes, how), how)
    return combined(block.join, x, past, how)


def combined(join: ConvexCombination, x: Signal, past: Signal, how: How) -> Signal:
    a, b = join.weights
    return added(scaled(x, a, how.rounding), scaled(past, b, how.rounding), how.rounding)


def _per_step(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x.flatten(0, 1))
    return y.unflatten(0, x.shape[:2])

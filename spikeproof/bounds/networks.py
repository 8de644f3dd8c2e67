"""By how much does a network name a class, at least, over a whole box of images?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikeproof.bounds.affine import HALF, map_of, peak
from spikeproof.bounds.neurons import Integration, slack_of, step_by_step
from spikeproof.bounds.rules import How, bounded, rule_of
from spikeproof.bounds.signals import Box, Range, Signal
from spikeproof.choices import UserError, short
from spikeproof.snn import (
    Direct,
    FirstSpike,
    Frames,
    LastPotential,
    Latency,
    MeanCurrent,
    SpikingNetwork,
    Triangle,
    attack_view,
)

Code = Callable[[Any, Range, int], Signal]


def _direct(encoder: Direct, x: Range, steps: int) -> Signal:
    return Box(Range(*(encoder(end, steps) for end in x)))


def _frames(encoder: Frames, x: Range, steps: int) -> Signal:
    if encoder.filters:
        raise UserError(f"what {short(encoder.filters)} make of bounds is not known: take the network without them")
    return Box(Range(*(encoder(end, steps) for end in x)))


def _latency(encoder: Latency, x: Range, steps: int) -> Signal:
    """A spike in exactly one of the steps between that of the brightest pixel and that of the darkest."""
    first, last = (((steps - 1) * (1 - end)).round() for end in (x.high + 4 * HALF, x.low - 4 * HALF))
    at = torch.arange(steps, device=first.device).view(-1, *[1] * first.ndim)
    perhaps = (first <= at) & (at <= last)
    return Box(Range((perhaps & (first == last)).to(x.low.dtype), perhaps.to(x.low.dtype)))


CODES: dict[type, Code] = {Direct: _direct, Frames: _frames, Latency: _latency}


def encoded(network: SpikingNetwork, x: Range, how: How) -> Signal:
    """What the first layer sees of images, or frames, between bounds; raises `UserError` for a code without a rule."""
    code = CODES.get(type(network.encoder))
    if code is None:
        raise UserError(
            f"no rule says what {short(network.encoder)} makes of bounds: they are of networks that draw nothing, with "
            "the encoder Direct, Latency or Frames"
        )
    signal = code(network.encoder, x, network.steps)
    return bounded(network.normalise, signal, how) if network.encoder.normalised else signal


class Output(NamedTuple):
    """The layers of a body, and its last linear layer by itself where a linear readout follows it."""

    layers: list[nn.Module]
    last: nn.Linear | None
    weights: Tensor | None  # [T], of the readout


def taken_apart(network: SpikingNetwork) -> Output:
    """The readout, and the linear layer before it, are one layer: margins are bounded as one sum, not as two."""
    layers = flat(network.body)
    weights = time_weights(network)
    if weights is not None and layers and type(layers[-1]) is nn.Linear:
        rule_of(layers[-1])
        return Output(layers[:-1], layers[-1], weights)
    return Output(layers, None, weights)


def flat(body: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences, in their order."""
    if isinstance(body, nn.Sequential) and rule_of(body) is rule_of(nn.Sequential()):
        return [layer for part in body for layer in flat(part)]
    return [body]


def time_weights(network: SpikingNetwork) -> Tensor | None:
    """What a linear readout multiplies each step with ``[T]``."""
    like = next(network.body.parameters()).detach()
    if type(network.readout) is MeanCurrent:
        return like.new_full((network.steps,), 1 / network.steps)
    if type(network.readout) is LastPotential:
        ages = torch.arange(network.steps - 1, -1, -1, device=like.device)
        return like.new_full((), network.readout.leak) ** ages
    return None


def margins(network: nn.Module, x: Range, y: Tensor, how: How) -> Tensor:
    """Lower bounds ``[B, K]`` on the logit of class `y` ``[B]`` minus each logit, for all images between bounds; of `y`
    itself it is 0. A network from elsewhere is one layer, and has a rule if it is a sequence of torch's layers.
    """
    if not isinstance(network, SpikingNetwork):
        known = bounded(network, Box(Range(*(end.unsqueeze(0) for end in x))), how).each
        return _without_own(known.low[0].gather(1, y.unsqueeze(1)) - known.high[0], y)
    parts, signal = taken_apart(network), encoded(network, x, how)
    for layer in parts.layers:
        signal = bounded(layer, signal, how)
    if parts.last is not None and parts.weights is not None:
        return _margins_of_linear(parts.last, signal, parts.weights, y, how)
    logits = read_out(network, signal, how)
    return _without_own(logits.low.gather(1, y.unsqueeze(1)) - logits.high, y)


def _margins_of_linear(layer: nn.Linear, signal: Signal, weights: Tensor, y: Tensor, how: How) -> Tensor:
    low, high = (end[0] for end in signal.summed(weights.unsqueeze(0)))  # [B, D]
    apart = layer.weight[y].unsqueeze(1) - layer.weight  # [B, K, D]
    found = (apart.clamp(min=0) @ low.unsqueeze(2) + apart.clamp(max=0) @ high.unsqueeze(2)).squeeze(2)
    if layer.bias is not None:
        found = found + (layer.bias[y].unsqueeze(1) - layer.bias) * weights.sum()
    if how.rounding:
        found = found - rounding_of_margins(layer, signal, weights, y)
    return _without_own(found, y)


def rounding_of_margins(layer: nn.Linear, signal: Signal, weights: Tensor, y: Tensor) -> Tensor:
    """How far float32 may be off a margin ``[B, K]``: each logit is a sum, and the readout adds once a step."""
    off = map_of(layer, layer.weight, layer.bias).rounding(peak(signal)) * weights.abs().sum() * (1 + len(weights))
    return off.gather(1, y.unsqueeze(1)) + off


def _without_own(found: Tensor, y: Tensor) -> Tensor:
    return found.scatter(1, y.unsqueeze(1), 0.0)


def read_out(network: SpikingNetwork, signal: Signal, how: How) -> Range:
    """Bounds ``[B, K]`` on logits, from what is known of output currents."""
    readout, weights = network.readout, time_weights(network)
    if weights is not None:
        off = 2 * HALF * len(weights) * peak(signal) * weights.abs().sum() if how.rounding else 0.0
        return Range(*(end[0] for end in signal.summed(weights.unsqueeze(0)))).widened(off)
    if type(readout) is FirstSpike:
        return _first_spike(readout, signal, network.steps, how)
    raise UserError(
        f"no rule says what {short(readout)} makes of bounds: take MeanCurrent, LastPotential or FirstSpike"
    )


def _first_spike(readout: FirstSpike, signal: Signal, steps: int, how: How) -> Range:
    """Both terms rise with the currents, and so with the spikes."""
    currents = Range(*(end.expand(steps, *end.shape[1:]) for end in signal.each))
    leak, threshold = (currents.low.new_full((), value) for value in (readout.leak, readout.threshold))
    slack = slack_of(steps) * (currents.magnitude().amax(0) + threshold) if how.rounding else 0.0
    spikes = step_by_step(currents, Integration(leak, threshold, True, slack, Triangle())).spikes.each
    mean = signal.summed(currents.low.new_full((1, steps), 1 / steps))
    ends = []
    for fired, current in zip(spikes, mean, strict=True):
        earlier = 1 - (1 - fired).cumprod(0)
        ends.append(readout.scale * (earlier.mean(0) + readout.tie_break * torch.tanh(current[0]) / steps))
    off = 2 * HALF * (steps + 4) * abs(readout.scale) * (1 + readout.tie_break) if how.rounding else 0.0
    return Range(*ends).widened(off)


def prepared(network: SpikingNetwork) -> SpikingNetwork:
    """The network in eval mode and in float64, in which bounds are computed; its weights are those that it has."""
    found = attack_view(network).double()
    assert isinstance(found, SpikingNetwork)
    return found

"""What is known of the spikes of a layer, given what is known of its currents?

Potentials rise with currents, so bounds are bounds of two cases: a spike, and none. A neuron that spikes is reset; one
that does not has a potential below the threshold. With `How.trains` each step of the last spike is a case of its own.
After a hard reset nothing of what came before is left: for currents that lie in a box these cases are exact.

Source of the interval form: Liang et al., NeurIPS 2022, S-IBP; the cases of last spikes are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.bounds.affine import HALF, peak, scaled
from spikeproof.bounds.constant import MANY, Constants, Train, trains_of, under
from spikeproof.bounds.rules import How, bounded, rule
from spikeproof.bounds.signals import Box, Paths, Range, Signal
from spikeproof.choices import UserError, short
from spikeproof.snn.dynamics import Derivative, fired
from spikeproof.snn.gradients import Slope, Triangle
from spikeproof.snn.neurons import GradedLayer, LeakyLayer, SpikingLayer
from spikeproof.snn.stateful import AdaptiveLIF, StatefulLayer, SynapticLIF


class Integration(NamedTuple):
    """How a layer integrates: its constants, and how far float32 may be off a potential, `slack`."""

    leak: Tensor
    threshold: Tensor
    hard: bool
    slack: Tensor | float
    slope: Derivative


class Fired(NamedTuple):
    """What is known inside a layer: potentials before the reset ``[T, B, *n]``, and spikes.

    For the spikes that it has, float32 may be off a potential by `slack`.
    """

    potentials: Range
    spikes: Signal
    slack: Tensor | float


@dataclass(frozen=True, eq=False)
class Driven(Signal):
    """A signal as neurons see it: step t is the sum of ``matrix[t, j]`` times step j, plus ``offset[t]``."""

    signal: Signal
    matrix: Tensor  # [T, T]
    offset: Tensor  # [T]

    @property
    def steps(self) -> int:  # type: ignore[override]
        return len(self.matrix)

    @property
    def kind(self) -> Tensor:
        return self.signal.kind

    def summed(self, weights: Tensor) -> Range:
        low, high = self.signal.summed(weights @ self.matrix)
        shift = (weights @ self.offset).view(-1, *[1] * (low.ndim - 1))
        return Range(low + shift, high + shift)


@rule(LeakyLayer)
def of_leaky(layer: LeakyLayer, signal: Signal, how: How) -> Signal:
    signal = collected(layer, signal, how)
    trains = trains_under(layer, signal, how)
    if trains is not None:
        return under(Range(*(end[0] for end in signal.each)), trains)
    return leaky(layer, signal, how).spikes


def collected(layer: SpikingLayer, signal: Signal, how: How) -> Signal:
    """What arrives at the neurons: of two phases the mean over time, as a current that never changes."""
    if not layer.two_phases or signal.constant:
        return signal
    mean = signal.summed(torch.full_like(signal.kind.new_empty(1, signal.steps), 1 / signal.steps))
    return Box(mean.widened((signal.steps + 1) * HALF * peak(signal) if how.rounding else 0.0))


def trains_under(layer: LeakyLayer, signal: Signal, how: How) -> list[Train] | None:
    """All trains of its neurons, where they see a constant current and there are not too many."""
    if not (how.trains and signal.constant and layer.gain is None):
        return None
    threshold = float(layer.level())
    constants = Constants(float(layer.dynamics().leak), threshold, layer.hard_reset, layer.charge * threshold)
    # beyond two thresholds neurons spike at every step, so no larger current matters
    trains = trains_of(constants, layer.steps, 3 * slack_of(layer.steps) * threshold if how.rounding else 0.0)
    return trains if len(trains) <= MANY else None


def leaky(layer: LeakyLayer, signal: Signal, how: How) -> Fired:
    """What is known inside the layer, whatever its currents are."""
    gain = torch.ones_like(signal.kind.new_empty(layer.steps)) if layer.gain is None else layer.gain
    return fired_by(layer, signal, torch.diag(gain), layer.dynamics().leak, how)


@rule(GradedLayer)
def of_graded(layer: GradedLayer, signal: Signal, how: How) -> Signal:
    threshold = layer.level()
    return scaled(bounded(layer.fire, scaled(signal, 1 / threshold, how.rounding), how), threshold, how.rounding)


@rule(StatefulLayer)
def of_stateful(layer: StatefulLayer, signal: Signal, how: How) -> Signal:
    neuron, signal = layer.neuron, collected(layer, signal, how)
    if type(neuron) is SynapticLIF:
        fading = _fading(neuron.synapse_leak, layer.steps, signal.kind)
        return fired_by(layer, signal, fading, _as(neuron.leak, signal), how).spikes
    if type(neuron) is AdaptiveLIF:
        return _adaptive(layer, neuron, signal, how).spikes
    raise UserError(f"no rule says what neurons of the equations of {short(neuron)} make of bounds: declare one")


def slack_of(steps: int) -> float:
    """How far float32 may be off a potential, in units of the largest current and the threshold together.

    Of four roundings a step, none is of more than T times that; and a leak does not let them grow.
    """
    return 8 * HALF * steps**2


def fired_by(layer: SpikingLayer, signal: Signal, matrix: Tensor, leak: Tensor, how: How) -> Fired:
    """Of leaky neurons that see ``matrix @ signal``, and begin with a charge."""
    level, offset = layer.level(), signal.kind.new_zeros(layer.steps)
    offset[0] = (leak * layer.charge * level).detach() if layer.charge else 0.0
    driven = Driven(signal, matrix, offset)
    slack = slack_of(layer.steps) * (peak(driven) + level) if how.rounding else 0.0
    slope = layer.gradient if isinstance(layer.gradient, Slope) else Triangle()
    integration = Integration(leak, level, layer.hard_reset, slack, slope)
    return by_last_spike(driven, integration) if how.trains else step_by_step(driven.each, integration)


class Rising(NamedTuple):
    """Bounds of a threshold that rises with a neuron's own spikes, and how it goes on after some."""

    level: Range
    after: Callable[[Range], "Rising"]


def step_by_step(currents: Range, by: Integration, rising: Rising | None = None) -> Fired:
    """One interval a neuron: what it keeps lies between the ends of both cases."""
    v = Range(*(torch.zeros_like(end[0]) for end in currents))
    potentials, spikes = [], []
    for low, high in zip(*currents, strict=True):
        u = Range(by.leak * v.low + low, by.leak * v.high + high)
        level = Range(by.threshold, by.threshold) if rising is None else rising.level
        surely = fired(u.low - level.high - by.slack, by.slope)
        perhaps = fired(u.high - level.low + by.slack, by.slope)
        v = _both(u, level, surely > 0, perhaps > 0, by)
        potentials.append(u)
        spikes.append(Range(surely, perhaps))
        rising = None if rising is None else rising.after(spikes[-1])
    return Fired(_stacked(potentials), Box(_stacked(spikes)), by.slack)


def _both(u: Range, level: Range, surely: Tensor, perhaps: Tensor, by: Integration) -> Range:
    """What neurons keep: of those that may do either the hull of both cases."""
    reset, kept = _after_spike(u, level, by), _after_silence(u, level, by)
    low = torch.where(surely, reset.low, torch.where(perhaps, torch.minimum(reset.low, kept.low), kept.low))
    high = torch.where(surely, reset.high, torch.where(perhaps, torch.maximum(reset.high, kept.high), kept.high))
    return Range(low, high)


def _after_spike(u: Range, level: Range, by: Integration) -> Range:
    if by.hard:
        return Range(torch.zeros_like(u.low), torch.zeros_like(u.high))
    least = -by.slack if isinstance(by.slack, Tensor) else u.low.new_tensor(-by.slack)
    return Range(torch.maximum(u.low - level.high, least), u.high - level.low)


def _after_silence(u: Range, level: Range, by: Integration) -> Range:
    return Range(u.low, torch.minimum(u.high, level.high + by.slack))


@dataclass(frozen=True, eq=False)
class Case:
    """Neurons whose last spike was in one step: what they keep now, what they kept then, and whether it may be so."""

    now: Range
    then: Range
    live: Tensor


def by_last_spike(currents: Signal, by: Integration) -> Fired:
    """One interval a neuron and last spike; potentials are bounded as sums over the time since then, too."""
    low, high = currents.each
    steps, sums = len(low), _since(currents, by.leak)
    zero, level = torch.zeros_like(low[0]), Range(by.threshold, by.threshold)
    cases = [Case(Range(zero, zero), Range(zero, zero), torch.ones_like(zero, dtype=torch.bool))]
    fires, stays, potentials = [], [], []
    for t in range(steps):
        charged = [
            _charged(case, Range(low[t], high[t]), sums[t, k], by.leak, t + 1 - k) for k, case in enumerate(cases)
        ]
        fires.append([c.live & (u.high >= by.threshold - by.slack) for c, u in zip(cases, charged, strict=True)])
        stays.append([c.live & (u.low < by.threshold + by.slack) for c, u in zip(cases, charged, strict=True)])
        potentials.append(_hull(charged, [case.live for case in cases]))
        reset = _hull([_after_spike(u, level, by) for u in charged], fires[-1])
        silent = [_after_silence(u, level, by) for u in charged]
        cases = [Case(u, case.then, stay) for u, case, stay in zip(silent, cases, stays[-1], strict=True)]
        cases.append(Case(reset, reset, torch.stack(fires[-1]).any(0)))
    return Fired(_stacked(potentials), Paths(fires, stays, zero), by.slack)


def _since(currents: Signal, leak: Tensor) -> dict[tuple[int, int], Range]:
    """What all currents from step k on have left of themselves in step t, both counted from 0, by (t, k)."""
    steps = currents.steps
    places = [(t, k) for t in range(steps) for k in range(t + 1)]
    age = torch.arange(steps, device=currents.kind.device)
    rows = [torch.where((age >= k) & (age <= t), leak ** (t - age).clamp(min=0), 0.0) for t, k in places]
    found = currents.summed(torch.stack(rows).to(currents.kind.dtype))
    return {place: Range(low, high) for place, low, high in zip(places, *found, strict=True)}


def _charged(case: Case, current: Range, since: Range, leak: Tensor, age: int) -> Range:
    """The potential, as the step before leaves it, and as a sum over the steps since the last spike."""
    fading = leak**age
    low = torch.maximum(leak * case.now.low + current.low, fading * case.then.low + since.low)
    return Range(low, torch.minimum(leak * case.now.high + current.high, fading * case.then.high + since.high))


def _hull(ranges: list[Range], there: list[Tensor]) -> Range:
    """Of all that are there; 0 where none is."""
    some = torch.stack(there).any(0)
    low = torch.stack([r.low.masked_fill(~here, torch.inf) for r, here in zip(ranges, there, strict=True)]).amin(0)
    high = torch.stack([r.high.masked_fill(~here, -torch.inf) for r, here in zip(ranges, there, strict=True)]).amax(0)
    return Range(low.masked_fill(~some, 0.0), high.masked_fill(~some, 0.0))


def _adaptive(layer: StatefulLayer, neuron: AdaptiveLIF, signal: Signal, how: How) -> Fired:
    """The threshold rises by `strength` times a, a fading count of own spikes."""
    level, leak = layer.level(), _as(neuron.leak, signal)
    offset = signal.kind.new_zeros(layer.steps)
    offset[0] = (leak * layer.charge * level).detach()
    driven = Driven(signal, torch.eye(layer.steps, dtype=signal.kind.dtype, device=signal.kind.device), offset)
    risen = level + neuron.strength * layer.steps
    slack = slack_of(layer.steps) * (peak(driven) + risen) if how.rounding else 0.0

    def rising(a: Range) -> Rising:
        return Rising(
            Range(level + neuron.strength * a.low, level + neuron.strength * a.high),
            lambda spikes: rising(Range(neuron.decay * a.low + spikes.low, neuron.decay * a.high + spikes.high)),
        )

    slope = layer.gradient if isinstance(layer.gradient, Slope) else Triangle()
    by, zero = Integration(leak, level, layer.hard_reset, slack, slope), torch.zeros_like(driven.each.low[0])
    return step_by_step(driven.each, by, rising(Range(zero, zero)))


def _fading(decay: float, steps: int, like: Tensor) -> Tensor:
    """Row t holds decay^(t - j) for all j up to t."""
    age = torch.arange(steps, device=like.device).unsqueeze(1) - torch.arange(steps, device=like.device)
    return torch.where(age >= 0, _power(like, decay, age.clamp(min=0)), 0.0).to(like.dtype)


def _power(like: Tensor, base: float, exponent: Tensor) -> Tensor:
    return like.new_full((), base) ** exponent


def _as(number: float, signal: Signal) -> Tensor:
    return signal.kind.new_full((), number)


def _stacked(ranges: list[Range]) -> Range:
    return Range(*(torch.stack(ends) for ends in zip(*ranges, strict=True)))

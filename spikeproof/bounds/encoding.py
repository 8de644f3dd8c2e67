"""Which linear program says all that a spiking network may do over a box of images?

Of each neuron that is not certain it has, step by step, the hull of potential m, spike s and what is kept, r:

    hard reset   l (1 - s) <= r <= th (1 - s),   th s <= m - r <= u s
    soft reset   r = m - th s,                   l (1 - s) + th s <= m <= th (1 - s) + u s

for m in [l, u]. With s in {0, 1} this is the network itself, without any large constant. Neurons under a constant
current have the hull of all their pairs of current and spike train. Both are ours.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from spikeproof.bounds.affine import HALF, Mapped, peak
from spikeproof.bounds.constant import Train
from spikeproof.bounds.networks import rounding_of_margins, taken_apart
from spikeproof.bounds.neurons import collected, leaky, trains_under
from spikeproof.bounds.programs import Expression, Program
from spikeproof.bounds.rules import How, bounded
from spikeproof.bounds.signals import Box, Range, Signal, Trains
from spikeproof.choices import UserError, short
from spikeproof.snn import Direct, SpikingNetwork
from spikeproof.snn.layers import MeanPool, Pointwise
from spikeproof.snn.network import Normalise
from spikeproof.snn.neurons import LeakyLayer

LINEAR: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d, Pointwise, nn.BatchNorm1d, nn.BatchNorm2d, Normalise)
LINEAR += (MeanPool, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.Dropout)


class Line(NamedTuple):
    """A signal in the program's variables, one expression a step, and one alone where it never changes."""

    steps: list[Expression]
    known: Signal
    slack: Tensor  # [1, *n], how far float32 may be off

    def at(self, step: int) -> Expression:
        return self.steps[step if len(self.steps) > 1 else 0]


class Encoding(NamedTuple):
    """A program of a network over a box, whose first variables are the pixels, and the margins of a class over each
    ``[K]``, which float32 may miss by `slack`."""

    program: Program
    margins: Expression
    slack: np.ndarray


@dataclass(eq=False)
class Encodings:
    """Writes programs of one `network`, in float64; the matrices of its layers are made once.

    Raises `UserError` for layers that it does not know.
    """

    network: SpikingNetwork
    matrices: dict[tuple[int, torch.Size], tuple[csr_array, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts, encoder = taken_apart(self.network), self.network.encoder
        if type(encoder) is not Direct:
            raise UserError(f"linear programs are of networks with the encoder Direct, not {short(encoder)}")
        if parts.last is None:
            raise UserError(
                "linear programs are of networks that end with a linear layer, and the readout MeanCurrent or "
                "LastPotential: take IntervalBounds"
            )
        unknown = next((layer for layer in parts.layers if type(layer) not in (*LINEAR, LeakyLayer, nn.ReLU)), None)
        if unknown is not None:
            raise UserError(
                "linear programs are of chains of linear layers, leaky neurons and ReLU, and the network has a "
                f"{type(unknown).__name__}: take IntervalBounds"
            )

    @torch.no_grad()
    def of(self, box: Range, y: int, *, clear: float = 0.0) -> Encoding:
        """For the images ``[C, H, W]`` of a box, and the class `y`.

        With `clear` all potentials keep so far from the threshold: what has no solution proves nothing then, but the
        network answers each solution as the program says.
        """
        parts, program = taken_apart(self.network), Program(clear=clear)
        assert parts.last is not None
        assert parts.weights is not None
        pixels = program.variables(*(end.flatten().numpy() for end in box))
        around = Range(*(end.unsqueeze(0) for end in box))
        line = Line([pixels], Box(Range(*(end.unsqueeze(0) for end in around))), torch.zeros_like(around.low))
        for layer in (self.network.normalise, *parts.layers):
            line = self._behind(layer, line, program)
        weights, label = parts.weights, torch.tensor([y])
        mean = line.at(0).times(float(weights[0]))
        for step in range(1, len(weights)):
            mean = mean.plus(line.at(step).times(float(weights[step])))
        apart = parts.last.weight[y] - parts.last.weight
        bias = torch.zeros(len(apart)) if parts.last.bias is None else parts.last.bias[y] - parts.last.bias
        margins = mean.mapped(csr_array(apart.numpy()), (bias * weights.sum()).numpy())
        off = rounding_of_margins(parts.last, line.known, weights, label)[0]
        off = off + apart.abs() @ line.slack.flatten() * weights.abs().sum()
        return Encoding(program, margins, off.numpy())

    def _behind(self, layer: nn.Module, line: Line, program: Program) -> Line:
        known = bounded(layer, line.known, How())
        if isinstance(layer, LeakyLayer):
            line = _collected(layer, line)
            trains = trains_under(layer, line.known, How())
            if trains is not None and isinstance(known, Trains):
                return _choose_trains(line, known, trains, program)
            return _fire(layer, line, program)
        if isinstance(layer, nn.ReLU):
            return _rectify(line, known, program)
        weights, bias = self._matrix(layer, line.known.kind.new_empty(line.slack.shape[1:]).shape)
        slack = line.slack
        if isinstance(known, Mapped):
            slack = known.map.absolute(slack) + (0.0 if known.slack is None else known.slack)
        return Line([step.mapped(weights, bias) for step in line.steps], known, slack)

    def _matrix(self, layer: nn.Module, shape: torch.Size) -> tuple[csr_array, np.ndarray]:
        """What the layer adds up for each of its outputs, found by asking it."""
        key = (id(layer), shape)
        if key not in self.matrices:
            count = shape.numel()
            basis = torch.cat([torch.zeros(1, count), torch.eye(count)]).double().view(-1, *shape)
            answers = layer(basis).flatten(1).numpy()
            self.matrices[key] = (csr_array((answers[1:] - answers[0]).T), answers[0])
        return self.matrices[key]


def _collected(layer: LeakyLayer, line: Line) -> Line:
    """What arrives at the neurons: of two phases the mean over time."""
    known = collected(layer, line.known, How())
    if known is line.known:
        return line
    mean = line.at(0)
    for step in line.steps[1:]:
        mean = mean.plus(step)
    rounded = (len(line.steps) + 1) * HALF * peak(line.known)
    return Line([mean.times(1 / len(line.steps))], known, line.slack + rounded)


def _choose_trains(line: Line, known: Trains, trains: list[Train], program: Program) -> Line:
    """One share for each train that a neuron may have; the shares add up to 1, and mix the currents of the trains."""
    first, last = (end.flatten().numpy() for end in (known.first, known.last))
    low, high = (end.flatten().numpy() for end in line.known.each)
    off = line.slack.flatten().numpy() * (program.clear == 0)
    units = np.flatnonzero(first < last)
    counts = last[units] - first[units] + 1
    place = np.repeat(np.arange(len(units)), counts)  # of each share's neuron among the units
    train = np.concatenate([np.arange(first[u], last[u] + 1) for u in units]) if len(units) else np.empty(0, int)
    shares = program.variables(np.zeros(len(train)), np.ones(len(train)), whole=True)
    least, most = (np.array([each[end] for each in trains]) for end in (1, 2))
    current = line.at(0).chosen(units)
    program.hold(shares.mapped(_scattered(np.ones(len(train)), place, len(units)), 0.0), 1.0, 1.0)
    begins = np.maximum(least[train] + program.clear, low[units][place])
    ends = np.minimum(most[train] - program.clear, high[units][place])
    program.hold(current.minus(shares.mapped(_scattered(begins, place, len(units)), 0.0)), -off[units], np.inf)
    program.hold(current.minus(shares.mapped(_scattered(ends, place, len(units)), 0.0)), -np.inf, off[units])
    patterns = known.patterns.numpy()
    steps = []
    for step in range(known.steps):
        certain = np.where(first < last, 0.0, patterns[first, step])
        steps.append(shares.mapped(_scattered(patterns[train, step], units[place], len(first)), certain))
    return Line(steps, known, torch.zeros_like(line.slack))


def _fire(layer: LeakyLayer, line: Line, program: Program) -> Line:
    """The hull of each step of each neuron that is not certain at every step."""
    fired, dynamics = leaky(layer, line.known, How()), layer.dynamics()
    leak, threshold = float(dynamics.leak), float(dynamics.threshold)
    s_low, s_high = (end.flatten(1).numpy() for end in fired.spikes.each)
    units = np.flatnonzero((s_low != s_high).any(0))
    own = fired.slack.flatten().numpy()[units] if isinstance(fired.slack, Tensor) else 0.0
    low, high = (end.flatten(1).numpy()[:, units] for end in fired.potentials.widened(fired.slack))
    gain = np.ones(layer.steps) if layer.gain is None else layer.gain.numpy()
    kept: Expression | None = None
    steps = []
    for t in range(layer.steps):
        m = program.variables(low[t], high[t])
        s = program.variables(s_low[t, units], s_high[t, units], whole=True)
        charged = line.at(t).chosen(units).times(float(gain[t]))
        before = leak * layer.charge * threshold if t == 0 else 0.0
        charged = charged if kept is None else charged.plus(kept.times(leak))
        off = (abs(gain[t]) * line.slack.flatten().numpy()[units] + own) * (program.clear == 0)
        program.hold(m.minus(charged), before - off, before + off)
        kept = _reset(program, m, s, (low[t], high[t]), threshold, layer.hard_reset)
        certain = np.where(np.isin(np.arange(s_low.shape[1]), units), 0.0, s_low[t])
        steps.append(s.mapped(_scattered(np.ones(len(units)), units, len(certain)), certain))
    return Line(steps, fired.spikes, torch.zeros_like(line.slack))


def _reset(
    program: Program, m: Expression, s: Expression, ends: tuple[np.ndarray, np.ndarray], threshold: float, hard: bool
) -> Expression:
    """What is kept of potentials `m` in [l, u] after spikes `s`, and the hull of all three."""
    low, high = ends
    silent = np.minimum(high, threshold - program.clear)  # the most without a spike
    spiking = np.maximum(low, threshold + program.clear)  # and the least with one
    if not hard:
        program.hold(m.minus(s.times(spiking - low)), low, np.inf)
        program.hold(m.minus(s.times(high - silent)), -np.inf, silent)
        return m.minus(s.times(threshold))
    r = program.variables(np.minimum(low, 0.0), np.maximum(silent, 0.0))
    program.hold(r.plus(s.times(low)), low, np.inf)
    program.hold(r.plus(s.times(silent)), -np.inf, silent)
    spent = m.minus(r)
    program.hold(spent.minus(s.times(spiking)), 0.0, np.inf)
    program.hold(spent.minus(s.times(high)), -np.inf, 0.0)
    return r


def _rectify(line: Line, known: Signal, program: Program) -> Line:
    """max(0, a) for a in [l, u]: y >= a, y <= u s, y <= a - l (1 - s)."""
    low, high = (end.flatten(1).numpy() for end in line.known.each)
    off, steps = line.slack.flatten().numpy() * (program.clear == 0), []
    for t, a in enumerate(line.steps):
        y = program.variables(np.maximum(low[t], 0.0), np.maximum(high[t], 0.0))
        s = program.variables((low[t] > 0).astype(float), (high[t] > 0).astype(float), whole=True)
        program.hold(y.minus(a), -off, np.inf)
        program.hold(y.minus(s.times(high[t])), -np.inf, 0.0)
        program.hold(y.minus(a).minus(s.times(low[t])), -np.inf, off - low[t])
        steps.append(y)
    return Line(steps, known, torch.zeros_like(line.slack))


def _scattered(values: np.ndarray, rows: np.ndarray, count: int) -> csr_array:
    """One column for each value, which stands in its row of `count`."""
    return csr_array((values, (rows, np.arange(len(values)))), shape=(count, len(values)))

"""Which events have to move in time, and whither? Learned by odds (SpikeRetiming), or read from the gradient."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.events.moves import Placed, placed
from spikeproof.attacks.events.retiming import Retiming
from spikeproof.attacks.events.scg import normalised
from spikeproof.attacks.losses import AttackLoss, CrossEntropy, Margin
from spikeproof.attacks.query import Query, per_image
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Count, NonNegative, Positive, UserError

NEAR, FAR, MOST = 4.0, 0.0, 10.0  # log odds at first, of shifts by one frame at most and of others; their largest size


class Odds(NamedTuple):
    """The frames at hand, and the log odds of every cell's event and shift ``[B, T, cells, S]``."""

    z: Tensor
    odds: Tensor


class Velocity(NamedTuple):
    """The frames at hand, and the running sum of gradients."""

    z: Tensor
    velocity: Tensor


@dataclass(frozen=True, kw_only=True)
class Retimed(Iterative):
    """Climbs `restarts` times; all climbs but the first begin with noise."""

    under: ClassVar[tuple[str, ...]] = ("retiming",)
    static: ClassVar[bool] = False  # the events of a recording are listed

    restarts: Count = 1

    def check(self, threat: Threat) -> None:
        super().check(threat)
        on_events(threat)

    def last(self, state: Any) -> Tensor:
        return state.z


@dataclass(frozen=True, kw_only=True)
class SpikeRetiming(Retimed):
    """`steps` steps of 1, by sign, on the log odds of every event and shift; the threat makes frames of them.

    The loss is taken where each event is in one frame, as `Retiming.moved` places them. Its gradient goes to the soft
    frames (straight-through). In these an event is spread by the softmax of its log odds over `temperature`. Less go
    `crowding` times the mean over all cells of the squared excess over one event. Where the budget is shared, less goes
    `overspending` times the excess of the expected cost, in units of the budget. Source: Spike-Retiming Attacks, ICLR
    2026. Its relaxed projection inside the loop is left out: the strict one is as fast here. All restarts but the first
    add normal noise to the log odds (ours). Steps by sign forget which event gains most, which is what a shared budget
    asks: `SteepestRetiming` is stronger there.
    """

    steps: Count = 100
    crowding: NonNegative = 20.0
    overspending: NonNegative = 10.0
    temperature: Positive = 1.0
    loss: AttackLoss = CrossEntropy()
    eot: Count = 1

    def begin(self, query: Query) -> Odds:
        x, threat = query.x, on_events(query.threat)
        shifts = threat.shifts(x.shape[1]).to(x.device)
        even = torch.where(shifts.abs() <= 1, NEAR, FAR).to(x.dtype)
        shape = (*x.flatten(2).shape[1:], len(shifts))
        noise = query.streams.normal(*shape, like=x) * (query.slots.leg > 0).view(-1, 1, 1, 1)
        odds = even + noise
        return Odds(threat.moved(x, odds[placed(x)]), odds)

    def step(self, query: Query, state: Odds) -> Odds:
        x, threat = query.x, on_events(query.threat)
        slope, _ = query.gradient(state.z, self.loss)
        reach = reach_of(x, threat)
        odds = state.odds[reach.events]
        odds = (odds + self._uphill(slope, odds, reach, threat).sign()).clamp(-MOST, MOST)
        return Odds(threat.moved(x, odds), state.odds.index_put(tuple(reach.events), odds))

    def _uphill(self, slope: Tensor, odds: Tensor, reach: "Reach", threat: Retiming) -> Tensor:
        """The gradient of the objective by the log odds ``[E, S]``, from that of the loss by the frames."""
        share = (odds / self.temperature).masked_fill(~reach.possible, -torch.inf).softmax(1)
        crowd = torch.zeros_like(slope).flatten(2).index_put(reach.cells, share, accumulate=True).view_as(slope)
        crowded = 2 * self.crowding / slope[0].numel() * (crowd - 1).clamp(min=0)
        gain = reach.at(slope - crowded)
        if threat.by != "jitter":
            cost = (reach.shifts.abs() if threat.by == "delay" else reach.shifts != 0).to(share.dtype)
            owner = reach.events.recording
            spent = share.new_zeros(len(slope)).index_add(0, owner, (share * cost).sum(1))
            price = self.overspending / max(threat.budget, 1) * (spent > threat.budget)
            gain = gain - price[owner].unsqueeze(1) * cost
        return share * (gain - (share * gain).sum(1, keepdim=True)) / self.temperature


@dataclass(frozen=True, kw_only=True)
class SteepestRetiming(Retimed):
    """`steps` times, the events that gain most by the gradient move to where they gain most, all from where they were.

    What an event gains in a frame, beside staying, is the difference of the gradients there; where the delay of all
    events is bounded, it counts per frame of delay. Gradients are L1-normalised and summed up with the weight
    `momentum` on the past, as in MI-FGSM, so that the moves settle. All restarts but the first begin with random
    likings of the size of one gradient. Ours: to SpikeRetiming what SCG is to Gumbel.
    """

    steps: Count = 30
    momentum: NonNegative = 0.9
    loss: AttackLoss = Margin()
    eot: Count = 1

    def begin(self, query: Query) -> Velocity:
        x = query.x
        noise = query.streams.normal(*x.shape[1:], like=x) * per_image(query.slots.leg > 0, x)
        return Velocity(self._moved(noise, x, on_events(query.threat)), noise)

    def step(self, query: Query, state: Velocity) -> Velocity:
        slope, _ = query.gradient(state.z, self.loss)
        velocity = self.momentum * state.velocity + normalised(slope)
        return Velocity(self._moved(velocity, query.x, on_events(query.threat)), velocity)

    def _moved(self, uphill: Tensor, x: Tensor, threat: Retiming) -> Tensor:
        reach = reach_of(x, threat)
        there = reach.at(uphill)
        gain = there - there[:, reach.shifts == 0]
        return threat.moved(x, gain / reach.shifts.abs().clamp(min=1) if threat.by == "delay" else gain)


class Reach(NamedTuple):
    """The events [E], the shifts [S], and in which frame each would take each event ``[E, S]``, where possible."""

    events: Placed
    shifts: Tensor
    to: Tensor
    possible: Tensor

    @property
    def cells(self) -> tuple[Tensor, Tensor, Tensor]:
        """Recording, frame and cell of each event and shift: the index of frames ``[B, T, cells]``."""
        recording, _, cell = self.events
        return recording.unsqueeze(1), self.to, cell.unsqueeze(1)

    def at(self, values: Tensor) -> Tensor:
        """What frames ``[B, T, P, H, W]`` hold where each shift takes each event ``[E, S]``."""
        return values.flatten(2)[self.cells]


def reach_of(x: Tensor, threat: Retiming) -> Reach:
    """Whither the events of binary frames may move; what would leave the recording stays at its end."""
    events, shifts = placed(x), threat.shifts(x.shape[1]).to(x.device)
    to = events.frame.unsqueeze(1) + shifts
    inside = to.clamp(0, x.shape[1] - 1)
    return Reach(events, shifts, inside, inside == to)


def on_events(threat: Threat) -> Retiming:
    """The threat itself; raises `UserError` for one of kind "retiming" that does not move events of binary frames."""
    if not isinstance(threat, Retiming):
        raise UserError(f"events of binary frames move under Retiming, not under {threat}")
    return threat

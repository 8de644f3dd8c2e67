"""Which events have to move in time, and whither? Learned by odds (SpikeRetiming), or read from the gradient."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Best, Query
from spikeproof.attacks.events.moves import Placed, placed
from spikeproof.attacks.events.retiming import Retiming
from spikeproof.attacks.events.scg import normalised
from spikeproof.attacks.losses import AttackLoss, CrossEntropy, Margin
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

NEAR, FAR, MOST = 4.0, 0.0, 10.0  # log odds at first, of shifts by one frame at most and of others; their largest size


@dataclass(frozen=True, kw_only=True)
class Climb(Attack):
    """Climbs `restarts` times from what is not broken yet; all climbs but the first begin with noise."""

    under: ClassVar[tuple[str, ...]] = ("retiming",)

    restarts: int = 1

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        best, retiming = Best(x), on_events(threat)
        for number in range(self.restarts):
            if len(who := query.left(best)):
                self._climb(query, x, y, retiming, best, who, noise=min(number, 1))
        return best.x

    @abstractmethod
    def _climb(
        self, query: Query, x: Tensor, y: Tensor, threat: Retiming, best: Best, who: Tensor, noise: float
    ) -> None:
        """Offer `best` what is found of the recordings at `who`, from a start with this share of noise, 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class SpikeRetiming(Climb):
    """`steps` steps of 1, by sign, on the log odds of every event and shift; the threat makes frames of them.

    The loss is taken where each event is in one frame, as `Retiming.moved` places them, and its gradient goes to the
    soft frames, in which an event is spread by the softmax of its log odds over `temperature` (straight-through). Less
    go `crowding` times the mean over all cells of the squared excess over one event, and, where the budget is shared,
    `overspending` times the excess of the expected cost, in units of the budget. Source: Spike-Retiming Attacks, ICLR
    2026. Its relaxed projection inside the loop is left out: the strict one is as fast here. All restarts but the first
    add normal noise to the log odds (ours). Steps by sign forget which event gains most, which is what a shared budget
    asks: `SteepestRetiming` is stronger there.
    """

    steps: int = 100
    crowding: float = 20.0
    overspending: float = 10.0
    temperature: float = 1.0
    loss: AttackLoss = CrossEntropy()
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "restarts", "eot")
        for name in ("crowding", "overspending"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} weighs a penalty and is 0 or more, not {getattr(self, name)}")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"temperature is positive, not {self.temperature}")

    def _climb(
        self, query: Query, x: Tensor, y: Tensor, threat: Retiming, best: Best, who: Tensor, noise: float
    ) -> None:
        reach = reach_of(x[who], threat)
        odds = torch.where(reach.shifts.abs() <= 1, NEAR, FAR).to(x.dtype).expand(reach.to.shape)
        odds = odds + noise * torch.randn_like(odds)
        for _ in range(self.steps):
            z = threat.moved(x[who], odds)
            slope, answer = query.gradient(z, y[who], self.loss, who, self.eot)
            best.offer(z, answer, who)
            if query.stop and answer.broken.any():
                odds = odds[~answer.broken[reach.events.recording]]
                slope, who = slope[~answer.broken], who[~answer.broken]
                if not len(who):
                    return
                reach = reach_of(x[who], threat)
            odds = (odds + self._uphill(slope, odds, reach, threat).sign()).clamp(-MOST, MOST)
        z = threat.moved(x[who], odds)
        best.offer(z, query.answer(z, y[who], self.loss, who, self.eot), who)

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
class SteepestRetiming(Climb):
    """`steps` times, the events that gain most by the gradient move to where they gain most, all from where they were.

    What an event gains in a frame, beside staying, is the difference of the gradients there; where the delay of all
    events is bounded, it counts per frame of delay. Gradients are L1-normalised and summed up with the weight
    `momentum` on the past, as in MI-FGSM, so that the moves settle. All restarts but the first begin with random
    likings of the size of one gradient. Ours: to SpikeRetiming what SCG is to Gumbel.
    """

    steps: int = 30
    momentum: float = 0.9
    loss: AttackLoss = Margin()
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "restarts", "eot")
        if not 0 <= self.momentum < float("inf"):
            raise UserError(f"momentum weighs the past gradients and is 0 or more, not {self.momentum}")

    def _climb(
        self, query: Query, x: Tensor, y: Tensor, threat: Retiming, best: Best, who: Tensor, noise: float
    ) -> None:
        velocity = noise * torch.randn_like(x[who])
        for _ in range(self.steps):
            z = self._moved(velocity, x[who], threat)
            slope, answer = query.gradient(z, y[who], self.loss, who, self.eot)
            best.offer(z, answer, who)
            if query.stop and answer.broken.any():
                slope, velocity, who = (t[~answer.broken] for t in (slope, velocity, who))
                if not len(who):
                    return
            velocity = self.momentum * velocity + normalised(slope)
        z = self._moved(velocity, x[who], threat)
        best.offer(z, query.answer(z, y[who], self.loss, who, self.eot), who)

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

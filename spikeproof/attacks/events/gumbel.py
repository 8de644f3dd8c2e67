"""Gumbel: how likely each cell is to change is learned, through draws that a softmax of Gumbel noise stands in for."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.adam import Moments
from spikeproof.attacks.attack import Attack, Best, Query, per_image
from spikeproof.attacks.events.cell_threats import CellThreat
from spikeproof.attacks.events.scg import on_cells
from spikeproof.attacks.losses import AttackLoss, Margin
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

WORTHWHILE = 4  # times as many cells as the budget has are worth a change, where its price is not set


@dataclass(frozen=True, kw_only=True)
class Gumbel(Attack):
    """`steps` steps of Adam on the log odds of each cell to have one event more, or less; `draws` frames a step.

    A cell takes the state of the largest odds plus Gumbel noise, and gradients go to the softmax of these sums over
    `temperature` instead (straight-through). What is maximised is the loss less `weight` for each change. Frames count
    as they are drawn, whole events, never as the softmax has them. Source: Yao et al., 2024 (Gumbel-softmax attack on
    raw events, targeted), here on the grid of frames: a cell of binary frames has two states, one of counts three. Not
    given there, hence ours: of more changes than the budget has, those of the largest softmax stay; as many cells as
    the budget has are expected to change at first, all alike; and unless a `weight` is given, a change costs what the
    cell on rank 4 times the budget would gain, to first order. Adam makes all gains alike, and lifts too many cells
    where a change costs less. Where events may move, a cell also gains what the best other end of its move does, and
    what is drawn has that end added where it has none.
    """

    under: ClassVar[tuple[str, ...]] = ("events",)

    steps: int = 50
    draws: int = 1
    learning_rate: float = 1.0
    temperature: float = 1.0
    weight: float | None = None
    loss: AttackLoss = Margin()
    restarts: int = 1
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "draws", "restarts", "eot")
        for name in ("learning_rate", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} is positive, not {getattr(self, name)}")
        if self.weight is not None and not 0 <= self.weight < float("inf"):
            raise UserError(f"weight is the price of a change in units of the loss, and 0 or more; not {self.weight}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        best, cells = Best(x), on_cells(threat)
        for _ in range(self.restarts):
            if len(who := query.left(best)):
                self._climb(query, x, y, cells, best, who)
        return best.x

    def _climb(self, query: Query, x: Tensor, y: Tensor, threat: CellThreat, best: Best, who: Tensor) -> None:
        odds, slope = even_odds(x[who], threat), torch.zeros_like(x[who])
        moments = Moments.none(odds)
        for _ in range(self.steps):
            uphill = torch.zeros_like(odds)
            for _ in range(self.draws):
                change, soft = self._drawn(odds)
                change = threat.partnered(change, slope, x[who], x[who])
                worth = torch.where(change > 0, soft[0], soft[1])
                z = threat.of_most_worth(x[who] + change, worth, x[who])
                slope, answer = query.gradient(z, y[who], self.loss, who, self.eot)
                best.offer(z, answer, who)
                uphill += self._uphill(threat.gains(slope, x[who]), soft, threat) / self.draws
            moments = moments.with_gradient(uphill)
            odds = odds + self.learning_rate * moments.step
            if query.stop:
                left = ~best.broken[who]
                odds, moments, slope, who = odds[:, left], moments.of((slice(None), left)), slope[left], who[left]
                if not len(who):
                    return

    def _drawn(self, odds: Tensor) -> tuple[Tensor, Tensor]:
        """The change of each cell in one draw, and the softmax of its states: one more, one less, none ``[3, ...]``."""
        uniform = torch.rand(3, *odds.shape[1:], dtype=odds.dtype, device=odds.device)
        tiny = torch.finfo(odds.dtype).tiny
        noise = -uniform.clamp(min=tiny).log().neg().clamp(min=tiny).log()
        states = noise + torch.cat([odds, torch.zeros_like(odds[:1])])
        state = states.argmax(0)
        return (state == 0).to(odds.dtype) - (state == 1).to(odds.dtype), (states / self.temperature).softmax(0)

    def _uphill(self, gain: Tensor, soft: Tensor, threat: CellThreat) -> Tensor:
        """The gradient by the odds ``[2, ...]``, from what events more and less gain, through the softmax."""
        gain = gain.masked_fill(soft[:2] == 0, 0)
        gain = gain - (self.price(gain, threat) if self.weight is None else self.weight)
        return soft[:2] * (gain - (soft[:2] * gain).sum(0)) / self.temperature

    def price(self, gain: Tensor, threat: CellThreat) -> Tensor:
        """What the cell on rank `WORTHWHILE` times the budget gains, in each recording."""
        best = gain.amax(0).flatten(1)
        rank = min(max(WORTHWHILE * threat.budget, 1), best.shape[1])
        return per_image(best.topk(rank, dim=1).values[:, -1], gain[0])


def even_odds(x: Tensor, threat: CellThreat) -> Tensor:
    """Log odds of one event more, and of one less, ``[2, B, ...]``: as many cells change as the budget has."""
    legal = threat.gains(torch.zeros_like(x), x).isfinite()
    share = threat.budget / legal.any(0).flatten(1).sum(1).clamp(min=1).to(x.dtype)
    odds = per_image(share.clamp(1e-6, 0.5).logit(), x) - legal.sum(0).clamp(min=1).to(x.dtype).log()
    return odds.expand_as(legal).masked_fill(~legal, -torch.inf)

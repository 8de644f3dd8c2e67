"""Gumbel: how likely each cell is to change is learned, through draws that a softmax of Gumbel noise stands in for."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.adam import Moments
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.events.cell_threats import CellThreat
from spikeproof.attacks.events.scg import on_cells
from spikeproof.attacks.losses import AttackLoss, Margin
from spikeproof.attacks.query import Query, per_image
from spikeproof.choices import Count, NonNegative, Positive
from spikeproof.randomness import Streams

WORTHWHILE = 4  # times as many cells as the budget has are worth a change, where its price is not set


class State(NamedTuple):
    """Log odds ``[B, 2, T, P, H, W]`` of an event more and less, the last gradient, and Adam's moments."""

    odds: Tensor
    slope: Tensor
    moments: Moments


@dataclass(frozen=True, kw_only=True)
class Gumbel(Iterative):
    """`steps` steps of Adam on the log odds of each cell to have one event more, or less; `draws` frames a step.

    A cell takes the state of the largest odds plus Gumbel noise, and gradients go to the softmax of these sums over
    `temperature` instead (straight-through). What is maximised is the loss less `weight` for each change. Frames count
    as they are drawn, whole events, never as the softmax has them. Source: Yao et al., 2024 (Gumbel-softmax attack on
    raw events, targeted), here on the grid of frames: a cell of binary frames has two states, one of counts three. Not
    given there, hence ours: of more changes than the budget has, those of the largest softmax stay. As many cells as
    the budget has are expected to change at first, all alike. Unless a `weight` is given, a change costs what the cell
    on rank 4 times the budget would gain, to first order. Adam makes all gains alike, and lifts too many cells where a
    change costs less. Where events may move, a cell also gains what the best other end of its move does, and what is
    drawn has that end added where it has none.
    """

    under: ClassVar[tuple[str, ...]] = ("events",)
    static: ClassVar[bool] = False  # the edits of a recording are listed

    steps: Count = 50
    draws: Count = 1
    learning_rate: Positive = 1.0
    temperature: Positive = 1.0
    weight: NonNegative | None = None
    loss: AttackLoss = Margin()
    restarts: Count = 1
    eot: Count = 1

    def begin(self, query: Query) -> State:
        odds = even_odds(query.x, on_cells(query.threat)).transpose(0, 1)
        return State(odds, torch.zeros_like(query.x), Moments.none(odds))

    def step(self, query: Query, state: State) -> State:
        odds, slope, x = state.odds.transpose(0, 1), state.slope, query.x
        threat, streams = on_cells(query.threat), query.streams
        uphill = torch.zeros_like(odds)
        for _ in range(self.draws):
            change, soft = self._drawn(odds, streams)
            change = threat.partnered(change, slope, x, x)
            worth = torch.where(change > 0, soft[0], soft[1])
            slope, _ = query.gradient(threat.of_most_worth(x + change, worth, x), self.loss)
            uphill += self._uphill(threat.gains(slope, x), soft, threat) / self.draws
        moments = state.moments.with_gradient(uphill.transpose(0, 1))
        return State(state.odds + self.learning_rate * moments.step, slope, moments)

    def _drawn(self, odds: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """The change of each cell in one draw, and the softmax of its states: one more, one less, none ``[3, ...]``."""
        uniform = streams.uniform(3, *odds.shape[2:], like=odds).transpose(0, 1)
        noise = -(-uniform.log()).log()
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

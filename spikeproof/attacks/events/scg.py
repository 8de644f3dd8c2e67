"""SCG: gradients made compatible with events, by drawing which of them become one event more or less."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.events.cell_threats import CellThreat
from spikeproof.attacks.losses import AttackLoss, Margin
from spikeproof.attacks.query import Query, per_image
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Count, NonNegative, UserError, Within
from spikeproof.randomness import Streams


class State(NamedTuple):
    """The frames at hand, and the running sum of gradients."""

    z: Tensor
    velocity: Tensor


@dataclass(frozen=True, kw_only=True)
class SCG(Iterative):
    """`steps` steps by random cells, the likelier the larger their gradient is; the best frames of all `restarts` stay.

    In each step a cell is drawn with probability (|g| - min |g|) / (max |g| - min |g|), over its recording. It takes
    one event more or less, as the sign of g says, where the threat lets it. Where g is 0 in the whole recording, each
    cell is drawn with probability `turnover`, and either way (restricted spike flipper). Source: Liang et al., IEEE
    TNNLS 2021 (spike-compatible gradient), where nothing bounds the changes. Ours: what exceeds the budget is undone,
    the changes that g now finds least worth first. So a step may exchange old changes for new ones. g is a running sum
    of L1-normalised gradients with the weight `momentum` on the past (0: the gradient alone, as published). Where
    events may move, the best other end of a move is drawn along with a cell. The loss is the margin, as cross-entropy
    hardly has a gradient where the network is sure (their "trap").
    """

    under: ClassVar[tuple[str, ...]] = ("events",)
    static: ClassVar[bool] = False  # the edits of a recording are listed

    steps: Count = 20
    momentum: NonNegative = 0.9
    turnover: Annotated[float, Within(0, 1, "(]")] = 0.05
    loss: AttackLoss = Margin()
    restarts: Count = 1
    eot: Count = 1

    def begin(self, query: Query) -> State:
        return State(query.x, torch.zeros_like(query.x))

    def step(self, query: Query, state: State) -> State:
        z, velocity = state
        slope, _ = query.gradient(z, self.loss)
        velocity = self.momentum * velocity + normalised(slope)
        blind = (slope == 0).flatten(1).all(1)
        return State(self._stepped(velocity, blind, z, query.x, on_cells(query.threat), query.streams), velocity)

    def last(self, state: State) -> Tensor:
        return state.z

    def _stepped(
        self, uphill: Tensor, blind: Tensor, z: Tensor, x: Tensor, threat: CellThreat, streams: Streams
    ) -> Tensor:
        shape = x.shape[1:]
        up, down = threat.steps(z, x)
        blind = per_image(blind, x)
        size = torch.where(blind, streams.uniform(*shape, like=x), uphill.abs())
        low, high = (per_image(end, x) for end in size.flatten(1).aminmax(dim=1))
        chance = torch.where(blind, self.turnover, (size - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny))
        way = torch.where(blind, any_way(up, down, streams), uphill.sign())
        way = way * (((way > 0) & up) | ((way < 0) & down)) * (streams.uniform(*shape, like=x) < chance)
        way = threat.partnered(way, torch.where(blind, streams.normal(*shape, like=x), uphill), z, x)
        z = z + way
        return threat.of_most_worth(z, torch.where(blind, size, uphill * (z - x).sign()), x)


def on_cells(threat: Threat) -> CellThreat:
    """The threat itself; raises `UserError` for one of kind "events" that does not tell the steps of its cells."""
    if not isinstance(threat, CellThreat):
        raise UserError(f"events are changed cell by cell under EventFlips and EventEdits, not under {threat}")
    return threat


def normalised(slope: Tensor) -> Tensor:
    """Gradients over their mean size in each recording; 0 stays 0."""
    size = slope.abs().flatten(1).mean(1).clamp(min=torch.finfo(slope.dtype).tiny)
    return slope / per_image(size, slope)


def any_way(up: Tensor, down: Tensor, streams: Streams) -> Tensor:
    """+1 where there may be one event more, -1 where one less, by lot where both, 0 where neither."""
    rises = up & (~down | (streams.signs(*up.shape[1:], like=up.float()) > 0))
    return rises.float() - (down & ~rises).float()

"""SparseAttack: a change of the frames found by Adam, which is kept small by the sum of the frames' mean sizes."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.adam import Moments
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.events.cell_threats import CellThreat
from spikeproof.attacks.losses import AttackLoss
from spikeproof.attacks.query import Query
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Count, NonNegative, Positive

FLOOR = 1e-6  # of probabilities and sizes, as published


@dataclass(frozen=True)
class Unlikelihood(AttackLoss):
    """log(1 - p_y + 1e-6). Its gradient vanishes where the network is very sure."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        return (1 - logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1) + FLOOR).log()


class State(NamedTuple):
    """What is added to the frames, what the threat makes of it, the gradient before, and Adam's moments."""

    change: Tensor
    z: Tensor
    slope: Tensor
    moments: Moments


@dataclass(frozen=True, kw_only=True)
class SparseAttack(Iterative):
    """`steps` steps of Adam on what is added to the frames, from 0: down on -log(1 - p_y + 1e-6) + `weight` size.

    The size is the sum over the frames of the root mean square of their change. Under threats on whole events the
    network is asked about the frames that the threat makes of them. These have the events whose cell changed by half an
    event or more, those of the largest changes first. The gradient is passed straight through. Source: R-SNN, IROS
    2021, and DVS-Attacks, IJCNN 2021 (gradient-based "sparse" attack), after Wei et al., AAAI 2019. There the change
    begins at 1, frames are chosen by hand, and nothing but the range of the frames bounds it. Ours: where events may
    move, the other end of a move is where the gradient says.
    """

    under: ClassVar[tuple[str, ...]] = ("frames", "events")
    static: ClassVar[bool] = False  # the edits of a recording are listed

    steps: Count = 20
    learning_rate: Positive = 0.1
    weight: NonNegative = 1.0
    eot: Count = 1

    @property
    def loss(self) -> AttackLoss:  # type: ignore[override]
        return Unlikelihood()

    def begin(self, query: Query) -> State:
        zero = torch.zeros_like(query.x)
        return State(zero, query.x, zero, Moments.none(query.x))

    def step(self, query: Query, state: State) -> State:
        x, threat = query.x, query.threat
        slope, _ = query.gradient(state.z, self.loss)
        change = state.change
        if threat.kind == "frames":
            change = state.z - x  # what has not been projected would have to be undone first
        moments = state.moments.with_gradient(slope - self.weight * growth(state.z - x))
        change = change + self.learning_rate * moments.step
        return State(change, allowed(change, slope, x, threat), slope, moments)

    def last(self, state: State) -> Tensor:
        return state.z


def allowed(change: Tensor, uphill: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """What the threat allows of a change: of whole events, with the best other ends of moves by a gradient."""
    if not isinstance(threat, CellThreat):
        return threat.project(x + change, x)
    way = threat.partnered(change.round(), uphill, x, x)
    return threat.of_most_worth(x + way, (change * way.sign()).clamp(min=0), x)


def growth(change: Tensor) -> Tensor:
    """The gradient of the sum over frames ``[B, T, ...]`` of the root mean square of their change; 0 where it is 0."""
    frames = change.flatten(2)
    size = frames.square().mean(2, keepdim=True).sqrt().clamp(min=FLOOR)
    return (frames / size / frames.shape[2]).view_as(change)

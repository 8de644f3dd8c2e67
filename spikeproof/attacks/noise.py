"""Random noise as an attack: the control that every gradient attack must beat."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from spikeproof.attacks.attack import BlackBox
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.losses import KullbackLeibler, Margin
from spikeproof.attacks.query import Query
from spikeproof.choices import Count, Positive


class State(NamedTuple):
    """Nothing is remembered from draw to draw."""


@dataclass(frozen=True, kw_only=True)
class Noise(Iterative, BlackBox):
    """The best of `draws` images; each is judged by the mean of `eot` passes."""

    draws: Count = 1
    eot: Count = 1

    @property
    def length(self) -> int:
        return self.draws

    def begin(self, query: Query) -> State:
        return State()

    def step(self, query: Query, state: State) -> State:
        query.answer(self.drawn(query), KullbackLeibler() if query.y.is_floating_point() else Margin())
        return state

    @abstractmethod
    def drawn(self, query: Query) -> Tensor:
        """Images drawn at random from the threat."""


@dataclass(frozen=True, kw_only=True)
class UniformNoise(Noise):
    """The best of `draws` images drawn uniformly from the threat; each is judged by the mean of `eot` passes."""

    under: ClassVar[tuple[str, ...]] = ("images", "frames", "events", "retiming")

    def drawn(self, query: Query) -> Tensor:
        return query.threat.start(query.x, query.streams)


@dataclass(frozen=True, kw_only=True)
class NormalNoise(Noise):
    """The best of `draws` images with normal noise of deviation `relative_sigma` eps, projected into the threat;
    each is judged by the mean of `eot` passes."""

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    relative_sigma: Positive = 1.0

    def drawn(self, query: Query) -> Tensor:
        x, threat = query.x, query.threat
        noise = query.streams.normal(*x.shape[1:], like=x)
        return threat.project(x + threat.eps * self.relative_sigma * noise, x)

"""FGSM and RFGSM: one gradient, one step."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.query import Query
from spikeproof.choices import Count, Share


class State(NamedTuple):
    """The image that is attacked, then the one that the step leads to."""

    z: Tensor


@dataclass(frozen=True, kw_only=True)
class OneStep(Iterative):
    """One gradient, one step; the image that it leads to is never looked at."""

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    loss: AttackLoss = CrossEntropy()
    eot: Count = 1

    @property
    def length(self) -> int:
        return 1

    @property
    def keeps_last(self) -> bool:
        return True

    def last(self, state: State) -> Tensor:
        return state.z

    def _stepped(self, query: Query, z: Tensor, size: float) -> State:
        slope, _ = query.gradient(z, self.loss)
        threat = query.threat
        return State(threat.project(z + size * threat.ascent(slope, z), query.x))


@dataclass(frozen=True, kw_only=True)
class FGSM(OneStep):
    """One step of length eps along the gradient. Weak: a network that only withstands FGSM is not robust.

    Source: Goodfellow et al., ICLR 2015.
    """

    def begin(self, query: Query) -> State:
        return State(query.x)

    def step(self, query: Query, state: State) -> State:
        return self._stepped(query, state.z, query.threat.eps)


@dataclass(frozen=True, kw_only=True)
class RFGSM(OneStep):
    """A random step of `relative_start` eps, then a gradient step of the rest. Source: Tramer et al., ICLR 2018."""

    relative_start: Share = 0.5

    def begin(self, query: Query) -> State:
        x, threat = query.x, query.threat
        way = threat.ascent(query.streams.normal(*x.shape[1:], like=x), x)
        return State(threat.project(x + threat.eps * self.relative_start * way, x))

    def step(self, query: Query, state: State) -> State:
        return self._stepped(query, state.z, query.threat.eps * (1 - self.relative_start))

"""SA-PGD: PGD with a step of its own for every pixel, as Adam takes it."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.apgd import lengths
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.query import Query, per_image
from spikeproof.choices import Count

MOMENTUM, DECAY = 0.5, 0.8


class State(NamedTuple):
    """The iterate, the running sums m and v, and the size of a step in units of eps."""

    z: Tensor
    m: Tensor
    v: Tensor
    size: Tensor


@dataclass(frozen=True, kw_only=True)
class SAPGD(Iterative):
    """Steps m / sqrt(v) of at most eps a pixel from a corner of the threat, halved after each of APGD's periods.

    m and v are running sums of the gradient over its mean magnitude and of its square over its mean square. In
    other norms than Linf the step is the steepest one along m / sqrt(v). Source: CVPR 2026, arXiv 2512.22522.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    steps: Count = 100
    loss: AttackLoss = CrossEntropy()
    restarts: Count = 1
    eot: Count = 1

    def begin(self, query: Query) -> State:
        x, threat = query.x, query.threat
        corner = threat.ascent(query.streams.normal(*x.shape[1:], like=x), x)
        z = threat.project(x + threat.eps * corner, x)
        return State(z, torch.zeros_like(z), torch.zeros_like(z), z.new_ones(len(z)))

    def step(self, query: Query, state: State) -> State:
        z, m, v, size = state
        threat = query.threat
        slope, _ = query.gradient(z, self.loss)
        slope = slope / _mean(slope.abs())  # first of all: the squares of gradients near 1e-25 underflow
        m = MOMENTUM * m + slope
        v = DECAY * v + slope**2 / _mean(slope**2)
        way = m / (v.sqrt() + 1e-12)
        step = way.clamp(-1, 1) if threat.norm == "Linf" else threat.ascent(way, z)
        z = threat.project(z + per_image(threat.eps * size, z) * step, query.x)
        return State(z, m, v, torch.where(lengths(self.steps, query.count) > 0, size / 2, size))

    def last(self, state: State) -> Tensor:
        return state.z


def _mean(values: Tensor) -> Tensor:
    """Over all but the first dimension, which it keeps; never 0."""
    return per_image(values.flatten(1).mean(1).clamp(min=torch.finfo(values.dtype).tiny), values)

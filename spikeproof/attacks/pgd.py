"""PGD: projected gradient ascent, the work-horse of training and evaluation."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.losses import AttackLoss, CrossEntropy
from spikeproof.attacks.query import Query, per_image
from spikeproof.choices import Count, NonNegative, Positive, UserError


class State(NamedTuple):
    """The iterate, and the running sum of gradients."""

    z: Tensor
    velocity: Tensor


@dataclass(frozen=True, kw_only=True)
class PGD(Iterative):
    """`steps` steps of steepest ascent, each projected back; the best iterate of all restarts is kept.

    `relative_step` is the step size in units of eps (default 2.5 / steps). `start` is "random" in the threat, "near"
    (0.001 times normal noise, as TRADES does) or "clean". `momentum` averages L1-normalised gradients. With `nesterov`
    they are taken where the momentum alone would lead. MI-FGSM and NI-FGSM are momentum 1 from a clean start. `eot` is
    the number of passes that a gradient is averaged over (EOT, for stochastic models). `keep="last"` returns the last
    iterate and saves a pass, which is what training wants. Source: Madry et al., ICLR 2018; momentum: Dong et al., CVPR
    2018; Nesterov: Lin et al., ICLR 2020; EOT: Athalye et al., ICML 2018.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    steps: Count = 10
    relative_step: Positive | None = None
    loss: AttackLoss = CrossEntropy()
    momentum: NonNegative = 0.0
    nesterov: bool = False
    restarts: Count = 1
    eot: Count = 1
    start: Literal["random", "near", "clean"] = "random"
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise UserError("nesterov looks ahead along the momentum, which is 0: set it to 1 for NI-FGSM")
        if self.keep == "last" and self.restarts > 1:
            raise UserError("with several restarts the best iterate has to be kept: set keep to 'best'")

    @property
    def keeps_last(self) -> bool:
        return self.keep == "last"

    def begin(self, query: Query) -> State:
        x, threat = query.x, query.threat
        if self.start == "random":
            z = threat.start(x, query.streams)
        elif self.start == "near":
            z = threat.project(x + 0.001 * query.streams.normal(*x.shape[1:], like=x), x)
        else:
            z = x
        return State(z, torch.zeros_like(z))

    def step(self, query: Query, state: State) -> State:
        z, velocity = state
        x, threat = query.x, query.threat
        size = threat.eps * (self.relative_step or 2.5 / self.steps)
        if self.nesterov:
            unit = threat.distance(torch.ones_like(z[:1]), torch.zeros_like(z[:1]))  # of a change of 1 everywhere
            ahead = z + self.momentum * size * velocity / unit
            slope, _ = query.gradient(ahead, self.loss, offer=False)  # what lies ahead may not be allowed
            if query.keeps:
                query.answer(z, self.loss)
        else:
            slope, _ = query.gradient(z, self.loss)
        if self.momentum:
            length = slope.abs().flatten(1).mean(1).clamp(min=torch.finfo(x.dtype).tiny)
            slope = velocity = self.momentum * velocity + slope / per_image(length, x)
        return State(threat.project(z + size * threat.ascent(slope, z), x), velocity)

    def last(self, state: State) -> Tensor:
        return state.z

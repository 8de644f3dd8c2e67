"""Which attacks make an evaluation? Suites: short readable lists, cheapest first."""

from dataclasses import dataclass
from typing import Literal

from spikeproof.attacks import FGSM, PGD, Attack, Margin, UniformNoise
from spikeproof.specs import UserError, nearest

__all__ = ["SUITES", "Suite", "suite_named"]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named list of attacks; each sees only the images that all before it left unbroken.

    A stochastic network answers with the mean logits of its draws, or, `judged_by` "vote", with the class that most of
    them name (as randomised smoothing does).
    """

    name: str
    attacks: tuple[Attack, ...] = ()
    judged_by: Literal["mean", "vote"] = "mean"

    def __post_init__(self) -> None:
        if not self.attacks:
            raise UserError(f"the suite {self.name!r} has no attacks")
        if self.judged_by not in ("mean", "vote"):
            raise UserError(f"unknown judged_by {self.judged_by!r}: it is 'mean' or 'vote'")


QUICK = Suite(
    name="quick",
    attacks=(UniformNoise(draws=2), FGSM(), PGD(steps=10), PGD(steps=20, loss=Margin(), restarts=2)),
)

SUITES = {suite.name: suite for suite in (QUICK,)}


def suite_named(name: str) -> Suite:
    """The suite of that name; raises `UserError` with the nearest one for an unknown name."""
    if name not in SUITES:
        raise UserError(f"unknown suite {name!r}; {nearest(name, SUITES)}")
    return SUITES[name]

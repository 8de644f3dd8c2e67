"""How much accuracy is left on the way to an attack strength? One number for a curve."""

from collections.abc import Sequence
from itertools import pairwise

from spikeproof.choices import UserError

__all__ = ["qte"]


def qte(strengths: Sequence[float], accuracies: Sequence[float]) -> float:
    """QTE: the area under accuracy (in [0, 1]) against attack strength, by trapezoids.

    For two strengths a < b it is (b - a) (A(a) + A(b)) / 2. Its unit is that of the strengths, so only curves over
    the same ones compare; begin with strength 0, the clean accuracy. Source: Wu et al., RSC-SNN, ACM MM 2024. Raises
    `UserError` for fewer than two strengths, and unless they grow.
    """
    if len(strengths) != len(accuracies) or len(strengths) < 2:
        raise UserError(f"QTE takes one accuracy for each of at least two strengths, not {len(accuracies)} accuracies")
    if any(b <= a for a, b in pairwise(strengths)):
        raise UserError(f"the strengths of QTE must grow, and these do not: {', '.join(f'{s:g}' for s in strengths)}")
    points = list(zip(strengths, accuracies, strict=True))
    return sum((b - a) * (at_a + at_b) / 2 for (a, at_a), (b, at_b) in pairwise(points))

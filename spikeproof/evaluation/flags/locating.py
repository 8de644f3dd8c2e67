"""Does a gradient name the right values, and the same ones nearby? It is compared with copies that lie elsewhere, with
values that it calls unimportant, and with the gradients a little further on.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.evaluation.flags.surroundings import SAME, Standing, standing
from spikeproof.evaluation.flags.trials import Trials

DRAWS = 16  # of random steps with some values alone
ACROSS = 2.0  # their length in units of eps: from one side of the threat to the other
QUARTER = 0.25  # of all values are those of the smallest gradients, and as many those of the largest
NEARBY = 4  # places where the gradient is taken again
APART = 0.1  # their distance in units of eps
BOUND = 5.0  # of the logarithm of a ratio


class Located(NamedTuple):
    """Of each image ``[B]``, along each path: what says whether its gradient lies where it belongs.

    `further` ``[B, paths, copies]`` says where a displaced copy of the gradient leads further than the gradient. The
    margin moves by `small` ``[B, paths]`` with the values of the smallest gradients, by `large` with those of the
    largest. `moved` says where it moves at all. `cosines` ``[B, paths]`` are those between the gradient and others
    nearby, the mean.
    """

    further: Tensor
    small: Tensor
    large: Tensor
    moved: Tensor
    cosines: Tensor

    @property
    def ratios(self) -> Tensor:
        """The logarithms of small over large ``[B, paths]``."""
        least = torch.finfo(torch.float64).tiny
        ratio = self.small.double().clamp(min=least) / self.large.double().clamp(min=least)
        return ratio.log().clamp(-BOUND, BOUND)


def copies(slope: Tensor) -> Iterator[Tensor]:
    """The gradient, shifted by a pixel each way, and mirrored each way."""
    for axis in (-1, -2):
        yield from (slope.roll(1, axis), slope.roll(-1, axis), slope.flip(axis))


def located(trials: Trials) -> Located | None:
    """From a random place of each threat; None where the threat is no ball. It is asked once."""
    if trials.threat.kind not in ("images", "frames"):
        return None
    return trials.once("located", lambda: Located(*trials.shared(lambda rows: _located(trials, rows))))


def _located(trials: Trials, rows: Tensor) -> Located:
    """Of these rows; all parts have a row each."""
    with standing(trials, rows) as here:
        further = torch.stack([_further(here, slope) for slope in here.slopes], 1)
        drawn = [here.noise() for _ in range(DRAWS)]
        spread = [_spread(here, slope, drawn) for slope in here.slopes]
        cosines = torch.stack([_cosines(here) for _ in range(NEARBY)]).mean(0)
    small, large = (torch.stack(parts, 1) for parts in zip(*spread, strict=True))
    least = SAME * here.logits.abs().amax(1).clamp(min=1e-30)
    return Located(further, small, large, (torch.maximum(small, large) > least.unsqueeze(1)).any(1), cosines)


def _cosines(here: Standing) -> Tensor:
    """Of the angles between the gradients and those at a place near by, one a path ``[B, paths]``."""
    threat = here.query.threat
    z = threat.project(here.base + APART * threat.eps * threat.ascent(here.noise(), here.base), here.x)
    pairs = zip(here.slopes, here.slopes_at(z), strict=True)
    return torch.stack([torch.cosine_similarity(a.flatten(1).double(), b.flatten(1).double()) for a, b in pairs], 1)


def _further(here: Standing, slope: Tensor) -> Tensor:
    """Where each copy of the gradient leads further than it does itself ``[B, copies]``."""
    ascent = here.query.threat.ascent
    itself = here.step(ascent(slope, here.base)).mean(1)
    return torch.stack([here.step(ascent(copy, here.base)).mean(1) > itself for copy in copies(slope)], 1)


def _spread(here: Standing, slope: Tensor, drawn: list[Tensor]) -> tuple[Tensor, Tensor]:
    """By how much the margin moves with the values of the smallest and of the largest gradients, the mean ``[B]``."""
    order = slope.abs().flatten(1).argsort(dim=1, stable=True).argsort(1).view_as(slope)
    count = max(1, int(QUARTER * slope[0].numel()))
    parts = (order < count, order >= slope[0].numel() - count)

    def moved(part: Tensor, noise: Tensor) -> Tensor:
        direction = here.query.threat.ascent(noise * part, here.base)
        ahead, back = here.step(direction, (ACROSS, -ACROSS)).unbind(1)
        return (ahead - back).abs()

    small, large = (torch.stack([moved(part, noise) for noise in drawn]).mean(0) for part in parts)
    return small, large

"""Carlini and Wagner's attack: the least change in L2 against the margin, by Adam, with nothing to project."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.adam import Moments
from spikeproof.attacks.losses import Margin
from spikeproof.attacks.nearest import Nearest, offer
from spikeproof.attacks.query import Query, per_image
from spikeproof.choices import Count, NonNegative, Positive

HEAVIEST = 1e10  # weight
INSIDE = 0.999999  # tanh takes black and white pixels to infinity


class State(NamedTuple):
    """The iterate in w, Adam's moments, and the search for the weight: its interval, and whether it broke the image."""

    w: Tensor
    moments: Moments
    weight: Tensor
    low: Tensor
    high: Tensor
    found: Tensor


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Nearest):
    """Minimises |z - x|^2 + weight max(confidence - margin, 0) over w, where z = (tanh w + 1) / 2 lies in [0, 1].

    The weight starts at `initial_weight`; `searches` times, it grows tenfold until the image is misclassified by
    `confidence` in the logits, and then its interval is halved. The change is minimised in L2 whatever the threat is.
    The adversarial image kept is the nearest in the threat's own norm. Outside the threat it is projected into it. In
    Linf the field's attack of this name is PGD with `Margin`. Black and white pixels begin at |w| = 7: images full of
    them need more `steps`, or a larger `learning_rate`. Source: Carlini and Wagner, S&P 2017, the L2 attack, without
    its code's early abort, for which the whole batch decides.
    """

    steps: Count = 200
    searches: Count = 9
    learning_rate: Positive = 0.01
    confidence: NonNegative = 0.0
    initial_weight: Positive = 1e-3
    eot: Count = 1

    @property
    def length(self) -> int:
        return self.steps * self.searches

    def start(self, query: Query) -> State:
        w = _toward(query.x)
        weight = query.x.new_full((len(w),), self.initial_weight)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        return State(w, Moments.none(w), weight, low, high, torch.zeros_like(low, dtype=torch.bool))

    def step(self, query: Query, state: State) -> State:
        s, x = self._next_search(query, state), query.x
        z = (s.w.tanh() + 1) / 2
        slope, answer = query.gradient(z, Margin(), offer=False)
        sure = answer.broken & (answer.loss >= self.confidence)
        offer(query, z, sure)
        pull = per_image(torch.where(answer.loss < self.confidence, s.weight, 0), z)
        downhill = (2 * (z - x) - pull * slope) * 2 * z * (1 - z)  # dz/dw = 2 z (1 - z)
        moments = s.moments.with_gradient(downhill)
        return s._replace(w=s.w - self.learning_rate * moments.step, moments=moments, found=s.found | sure)

    def _next_search(self, query: Query, s: State) -> State:
        """With another weight from the image on, where a search has come to its end."""
        ends = (query.count > 1) & ((query.count - 1) % self.steps == 0)
        low = torch.where(ends & ~s.found, s.weight, s.low)
        high = torch.where(ends & s.found, s.weight, s.high)
        other = torch.where(high.isinf(), (10 * s.weight).clamp(max=HEAVIEST), (low + high) / 2)
        rows, w = per_image(ends, s.w), _toward(query.x)
        return State(
            torch.where(rows, w, s.w),
            s.moments.begun_anew(ends),
            torch.where(ends, other, s.weight),
            low,
            high,
            s.found & ~ends,
        )


def _toward(x: Tensor) -> Tensor:
    """w of the image itself."""
    return ((2 * x - 1) * INSIDE).atanh()

"""Carlini and Wagner's attack: the least change in L2 against the margin, by Adam, with nothing to project."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeproof.attacks.adam import Moments
from spikeproof.attacks.attack import Attack, Query, per_image
from spikeproof.attacks.losses import Margin
from spikeproof.attacks.nearest import Nearest, first_look
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

HEAVIEST = 1e10  # weight
INSIDE = 0.999999  # tanh takes black and white pixels to infinity


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    """Minimises |z - x|^2 + weight max(confidence - margin, 0) over w, where z = (tanh w + 1) / 2 lies in [0, 1].

    The weight starts at `initial_weight`; `searches` times, it grows tenfold until the image is misclassified by
    `confidence` in the logits, and then its interval is halved. The change is minimised in L2 whatever the threat is;
    the adversarial image kept is the nearest in the threat's own norm, and outside the threat it is projected into it.
    In Linf the field's attack of this name is PGD with `Margin`. Black and white pixels begin at |w| = 7: images full
    of them need more `steps`, or a larger `learning_rate`. Source: Carlini and Wagner, S&P 2017, the L2 attack,
    without its code's early abort, for which the whole batch decides.
    """

    steps: int = 200
    searches: int = 9
    learning_rate: float = 0.01
    confidence: float = 0.0
    initial_weight: float = 1e-3
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "searches", "eot")
        for name in ("learning_rate", "initial_weight"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} is positive, not {getattr(self, name)}")
        if not 0 <= self.confidence < float("inf"):
            raise UserError(f"confidence is a margin of logits, 0 or more; not {self.confidence}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        nearest, _ = first_look(query, x, y, threat, self.eot)
        weight = x.new_full((len(x),), self.initial_weight)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for _ in range(self.searches):
            found = self._descend(query, nearest, y, weight)
            low, high = torch.where(found, low, weight), torch.where(found, weight, high)
            weight = torch.where(high.isinf(), (10 * weight).clamp(max=HEAVIEST), (low + high) / 2)
        return nearest.allowed()

    def _descend(self, query: Query, nearest: Nearest, y: Tensor, weight: Tensor) -> Tensor:
        """Whether the images were broken with this weight ``[B]``; those at hand already are left out."""
        found, who = torch.zeros_like(y, dtype=torch.bool), nearest.left(query.stop)
        w = ((2 * nearest.x[who] - 1) * INSIDE).atanh()
        moments = Moments.none(w)
        for _ in range(self.steps):
            if not len(who):
                break
            z = (w.tanh() + 1) / 2
            slope, answer = query.gradient(z, y[who], Margin(), who, self.eot)
            sure = answer.broken & (answer.loss >= self.confidence)
            nearest.offer(z, sure, who)
            found[who] |= sure
            pull = per_image(torch.where(answer.loss < self.confidence, weight[who], 0), z)
            downhill = (2 * (z - nearest.x[who]) - pull * slope) * 2 * z * (1 - z)  # dz/dw = 2 z (1 - z)
            moments = moments.with_gradient(downhill)
            w = w - self.learning_rate * moments.step
            if query.stop:
                left = nearest.distance[who] > nearest.threat.eps
                w, moments, who = w[left], moments.of(left), who[left]
        return found

"""HopSkipJump: walks along the decision boundary to the image, from decisions alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeproof.attacks.attack import BlackBox, Query, per_image
from spikeproof.attacks.losses import labels_of
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

STARTS = 100  # random images tried for each image
# Probes at distance / D^RADIUS. The paper's power is 1: so near, a spiking network's decisions are a staircase.
RADIUS = 0.25
JUMPS = 12  # step sizes tried, from distance / sqrt(step) down by halves
MANTISSA = 24  # bits: float32 has no more points between two images
TOGETHER = 256  # images in one pass, where the batch is smaller


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(BlackBox):
    """`steps` steps along the boundary, each from a gradient that `draws` sqrt(step) decisions estimate; the nearest
    misclassified image is kept, projected into the threat.

    Only the predicted class is looked at. The defaults ask some 18 000 times for each image. It begins at noise that
    the model takes for another class; where there is none the image stays as it is. Source: Chen, Jordan and
    Wainwright, S&P 2020, algorithm 2.
    """

    steps: int = 40
    draws: int = 100
    most_draws: int = 10000
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("steps", "draws", "most_draws", "eot")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        if threat.norm not in GEOMETRIES:
            raise UserError(f"HopSkipJump knows the norms {', '.join(GEOMETRIES)}, not that of {threat}")
        oracle = Oracle(query, labels_of(y), self.eot)
        z, found = starts(oracle, x)
        nearest, who = z.clone(), found.nonzero().squeeze(1)
        for step in range(self.steps + 1):
            far = threat.distance(nearest[who], x[who]) > (threat.eps if query.stop else 0)
            if not len(who := who[far]):
                break
            ahead = self._jump(oracle, x[who], z[who], who, threat, step) if step else z[who]
            z[who] = to_boundary(oracle, x[who], ahead, who, threat)
            nearer = who[threat.distance(z[who], x[who]) < threat.distance(nearest[who], x[who])]
            nearest[nearer] = z[nearer]
        inside = threat.contains(nearest, x)
        return torch.where(per_image(inside, x), nearest, threat.project(nearest, x))

    def _jump(self, oracle: "Oracle", x: Tensor, z: Tensor, who: Tensor, threat: Threat, step: int) -> Tensor:
        """Off the boundary at `z`, into what is misclassified."""
        distance = threat.distance(z, x)
        radius = distance / x[0].numel() ** RADIUS
        draws = min(int(self.draws * math.sqrt(step)), self.most_draws)
        uphill = threat.ascent(estimated_gradient(oracle, z, who, threat, radius, draws), z)
        return jumped(oracle, z, uphill, distance / math.sqrt(step), who)


@dataclass(frozen=True)
class Oracle:
    """What the model decides, and nothing else: whether images are misclassified."""

    query: Query
    labels: Tensor
    eot: int

    def __call__(self, z: Tensor, who: Tensor) -> Tensor:
        """Of images ``[N, b, ...]``, N for each of those at the places `who`: which are misclassified ``[N, b]``."""
        wrong = []
        for part in z.split(together(who)):
            labels = self.labels[who].repeat(len(part))
            with torch.no_grad():
                logits = self.query.logits(part.flatten(0, 1), labels, self.eot)
            wrong.append((logits.argmax(1) != labels).view(part.shape[:2]))
        self.query.forwards[who] += len(z) * self.eot
        return torch.cat(wrong)


def starts(oracle: Oracle, x: Tensor) -> tuple[Tensor, Tensor]:
    """A misclassified image for each of `x` - itself, or noise of random contrast - and whether there is one."""
    z, who = x.clone(), torch.arange(len(x), device=x.device)
    found = oracle(x.unsqueeze(0), who)[0]
    for _ in range(STARTS):
        if not len(who := (~found).nonzero().squeeze(1)):
            break
        ends = torch.rand(2, len(who), device=x.device, dtype=x.dtype)
        low, high = (per_image(end, x) for end in ends)
        noise = low + (high - low) * torch.rand_like(x[who])
        wrong = oracle(noise.unsqueeze(0), who)[0]
        z[who[wrong]], found[who[wrong]] = noise[wrong], True
    return z, found


def to_boundary(oracle: Oracle, x: Tensor, z: Tensor, who: Tensor, threat: Threat) -> Tensor:
    """The nearest misclassified images ``[b, ...]`` that bisection between `x` and misclassified `z` comes to."""
    geometry = GEOMETRIES[threat.norm]
    near, far, found = x.new_zeros(len(x)), x.new_ones(len(x)), z
    for _ in range(min(math.ceil(geometry.power * math.log2(x[0].numel())), MANTISSA)):
        middle = (near + far) / 2
        candidate = geometry.between(x, z, per_image(middle, x))
        wrong = oracle(candidate.unsqueeze(0), who)[0]
        near, far = torch.where(wrong, near, middle), torch.where(wrong, middle, far)
        found = torch.where(per_image(wrong, x), candidate, found)
    return found


def estimated_gradient(oracle: Oracle, z: Tensor, who: Tensor, threat: Threat, radius: Tensor, draws: int) -> Tensor:
    """The mean of `draws` random directions, each for or against by what is decided `radius` ahead (eq. 16).

    Decisions count relative to their mean, which lowers the variance, unless all are the same.
    """
    ahead, length = torch.zeros_like(z), per_image(radius, z)
    every, balance = torch.zeros_like(z), torch.zeros_like(radius)
    for done in range(0, draws, together(who)):
        direction = GEOMETRIES[threat.norm].draw(z.new_empty(min(together(who), draws - done), *z.shape))
        direction = direction / per_image(direction.flatten(2).norm(dim=2), z)
        there = (z + length * direction).clamp(0, 1)
        direction = (there - z) / length
        verdict = oracle(there, who).to(z.dtype) * 2 - 1  # [n, b]
        ahead += (per_image(verdict, z) * direction).sum(0)
        every += direction.sum(0)
        balance += verdict.sum(0)
    mean = balance.masked_fill(balance.abs() == draws, 0) / draws
    return ahead - per_image(mean, z) * every


def jumped(oracle: Oracle, z: Tensor, uphill: Tensor, size: Tensor, who: Tensor) -> Tensor:
    """As far `uphill` as `size`, or half, a quarter, ... of it stays misclassified."""
    sizes = size * 0.5 ** torch.arange(JUMPS).to(size).view(-1, 1)  # [N, b]
    there = (z + per_image(sizes, z) * uphill).clamp(0, 1)
    wrong = oracle(there, who)
    first = there[wrong.int().argmax(0), torch.arange(len(z), device=z.device)]
    return torch.where(per_image(wrong.any(0), z), first, z)


def together(who: Tensor) -> int:
    """How many times the images at the places `who` go into one pass."""
    return max(1, TOGETHER // len(who))


@dataclass(frozen=True)
class Geometry:
    """What depends on the norm: the way between two images, random directions, and a precision of D^-power."""

    between: Callable[[Tensor, Tensor, Tensor], Tensor]
    draw: Callable[[Tensor], Tensor]
    power: float


def blended(x: Tensor, z: Tensor, share: Tensor) -> Tensor:
    return x + share * (z - x)


def clipped(x: Tensor, z: Tensor, share: Tensor) -> Tensor:
    """The nearest image to `z` within `share` of its distance in every pixel."""
    reach = share * per_image((z - x).abs().flatten(1).amax(1), x)
    return x + (z - x).minimum(reach).maximum(-reach)


GEOMETRIES = {
    "Linf": Geometry(clipped, lambda z: z.uniform_(-1, 1), 2.0),
    "L2": Geometry(blended, lambda z: z.normal_(), 1.5),
}

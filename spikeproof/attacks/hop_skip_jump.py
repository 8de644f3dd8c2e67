"""HopSkipJump: walks along the decision boundary to the image, from decisions alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeproof.attacks.attack import BlackBox, Whole
from spikeproof.attacks.losses import labels_of
from spikeproof.attacks.query import TOGETHER, Query, per_image
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Count, UserError, short
from spikeproof.randomness import Streams

STARTS = 100  # random images tried for each image
# Probes at distance / D^RADIUS. The paper's power is 1: so near, a spiking network's decisions are a staircase.
RADIUS = 0.25
JUMPS = 12  # step sizes tried, from distance / sqrt(step) down by halves
MANTISSA = 24  # bits: float32 has no more points between two images


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(Whole, BlackBox):
    """`steps` steps along the boundary, each from a gradient that `draws` sqrt(step) decisions estimate; the nearest
    misclassified image is kept, projected into the threat.

    Only the predicted class is looked at. The defaults ask some 18 000 times for each image. It begins at noise that
    the model takes for another class; where there is none the image stays as it is. Source: Chen, Jordan and
    Wainwright, S&P 2020, algorithm 2.
    """

    steps: Count = 40
    draws: Count = 100
    most_draws: Count = 10000
    eot: Count = 1

    def check(self, threat: Threat) -> None:
        super().check(threat)
        if threat.norm not in GEOMETRIES:
            raise UserError(f"{short(self)} knows the norms {', '.join(GEOMETRIES)}, not that of {threat}")

    def find(self, query: Query) -> Tensor:
        oracle, x, threat = Oracle(query), query.x, query.threat
        z, found = starts(oracle, x)
        nearest, rows = z.clone(), found.nonzero().squeeze(1)
        for step in range(self.steps + 1):
            far = threat.distance(nearest[rows], x[rows]) > (threat.eps if query.task.stop else 0)
            if not len(rows := rows[far]):
                break
            ahead = self._jump(oracle, x[rows], z[rows], rows, threat, step) if step else z[rows]
            z[rows] = to_boundary(oracle, x[rows], ahead, rows, threat)
            nearer = rows[threat.distance(z[rows], x[rows]) < threat.distance(nearest[rows], x[rows])]
            nearest[nearer] = z[nearer]
        inside = threat.contains(nearest, x)
        return torch.where(per_image(inside, x), nearest, threat.project(nearest, x))

    def _jump(self, oracle: "Oracle", x: Tensor, z: Tensor, rows: Tensor, threat: Threat, step: int) -> Tensor:
        """Off the boundary at `z`, into what is misclassified."""
        distance = threat.distance(z, x)
        radius = distance / x[0].numel() ** RADIUS
        draws = min(int(self.draws * math.sqrt(step)), self.most_draws)
        streams = oracle.streams(rows, step)
        uphill = threat.ascent(estimated_gradient(oracle, z, rows, threat, radius, draws, streams), z)
        return jumped(oracle, z, uphill, distance / math.sqrt(step), rows)


@dataclass(frozen=True)
class Oracle:
    """What the model decides, and nothing else: whether images are misclassified."""

    query: Query

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor:
        """Of images ``[N, b, ...]``, N for each of these `rows`: which are misclassified ``[N, b]``."""
        wrong = []
        for part in z.split(together(rows)):
            all_rows = rows.repeat(len(part))
            labels = labels_of(self.query.y)[all_rows]
            logits = self.query.logits(part.flatten(0, 1), y=labels, rows=all_rows)
            wrong.append((logits.argmax(1) != labels).view(part.shape[:2]))
        return torch.cat(wrong)

    def streams(self, rows: Tensor, number: int) -> Streams:
        """The random numbers of these rows in part `number` of the search."""
        return Streams(self.query.streams.key[rows]).turn(number)


def starts(oracle: Oracle, x: Tensor) -> tuple[Tensor, Tensor]:
    """A misclassified image for each of `x` - itself, or noise of random contrast - and whether there is one."""
    z, rows = x.clone(), torch.arange(len(x), device=x.device)
    found = oracle(x.unsqueeze(0), rows)[0]
    for number in range(STARTS):
        if not len(rows := (~found).nonzero().squeeze(1)):
            break
        streams = oracle.streams(rows, -1 - number)
        low, high = (per_image(streams.uniform(like=x), x) for _ in range(2))
        noise = low + (high - low) * streams.uniform(*x.shape[1:], like=x)
        wrong = oracle(noise.unsqueeze(0), rows)[0]
        z[rows[wrong]], found[rows[wrong]] = noise[wrong], True
    return z, found


def to_boundary(oracle: Oracle, x: Tensor, z: Tensor, rows: Tensor, threat: Threat) -> Tensor:
    """The nearest misclassified images ``[b, ...]`` that bisection between `x` and misclassified `z` comes to."""
    geometry = GEOMETRIES[threat.norm]
    near, far, found = x.new_zeros(len(x)), x.new_ones(len(x)), z
    for _ in range(min(math.ceil(geometry.power * math.log2(x[0].numel())), MANTISSA)):
        middle = (near + far) / 2
        candidate = geometry.between(x, z, per_image(middle, x))
        wrong = oracle(candidate.unsqueeze(0), rows)[0]
        near, far = torch.where(wrong, near, middle), torch.where(wrong, middle, far)
        found = torch.where(per_image(wrong, x), candidate, found)
    return found


def estimated_gradient(
    oracle: Oracle, z: Tensor, rows: Tensor, threat: Threat, radius: Tensor, draws: int, streams: Streams
) -> Tensor:
    """The mean of `draws` random directions, each for or against by what is decided `radius` ahead (eq. 16).

    Decisions count relative to their mean, which lowers the variance, unless all are the same.
    """
    ahead, length = torch.zeros_like(z), per_image(radius, z)
    every, balance = torch.zeros_like(z), torch.zeros_like(radius)
    for done in range(0, draws, together(rows)):
        count = min(together(rows), draws - done)
        # a draw for each, so that the numbers do not depend on how many go into one pass
        direction = torch.stack([GEOMETRIES[threat.norm].draw(streams, z) for _ in range(count)])
        direction = direction / per_image(direction.flatten(2).norm(dim=2), z)
        there = (z + length * direction).clamp(0, 1)
        direction = (there - z) / length
        verdict = oracle(there, rows).to(z.dtype) * 2 - 1  # [n, b]
        ahead += (per_image(verdict, z) * direction).sum(0)
        every += direction.sum(0)
        balance += verdict.sum(0)
    mean = balance.masked_fill(balance.abs() == draws, 0) / draws
    return ahead - per_image(mean, z) * every


def jumped(oracle: Oracle, z: Tensor, uphill: Tensor, size: Tensor, rows: Tensor) -> Tensor:
    """As far `uphill` as `size`, or half, a quarter, ... of it stays misclassified."""
    sizes = size * 0.5 ** torch.arange(JUMPS).to(size).view(-1, 1)  # [N, b]
    there = (z + per_image(sizes, z) * uphill).clamp(0, 1)
    wrong = oracle(there, rows)
    first = there[wrong.int().argmax(0), torch.arange(len(z), device=z.device)]
    return torch.where(per_image(wrong.any(0), z), first, z)


def together(rows: Tensor) -> int:
    """How many times the images of these rows go into one pass."""
    return max(1, TOGETHER // len(rows))


@dataclass(frozen=True)
class Geometry:
    """What depends on the norm: the way between two images, random directions, and a precision of D^-power."""

    between: Callable[[Tensor, Tensor, Tensor], Tensor]
    draw: Callable[[Streams, Tensor], Tensor]  # one for each image
    power: float


def blended(x: Tensor, z: Tensor, share: Tensor) -> Tensor:
    return x + share * (z - x)


def clipped(x: Tensor, z: Tensor, share: Tensor) -> Tensor:
    """The nearest image to `z` within `share` of its distance in every pixel."""
    reach = share * per_image((z - x).abs().flatten(1).amax(1), x)
    return x + (z - x).minimum(reach).maximum(-reach)


GEOMETRIES = {
    "Linf": Geometry(clipped, lambda streams, z: 2 * streams.uniform(*z.shape[1:], like=z) - 1, 2.0),
    "L2": Geometry(blended, lambda streams, z: streams.normal(*z.shape[1:], like=z), 1.5),
}

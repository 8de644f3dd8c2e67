"""What may the adversary do? Threats: the allowed set, its projection, a start in it, a step of steepest ascent.

All radii are in pixel units, images lie in [0, 1], and every allowed image lies in [0, 1] too. Threats on recordings of
event cameras are in `events`.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from spikeproof.attacks.boxes import ROUNDING, Box, UnitBox
from spikeproof.choices import Choice, Pixels, UserError
from spikeproof.randomness import Streams

__all__ = ["L1", "L2", "Linf", "Threat"]

SPREAD = 3  # pixels that a step under L1 changes, per unit of eps: on average a pixel has half a unit of room


class Threat(Choice):
    """A set of allowed images round each image, of size `eps` in its `norm`. Tensors are ``[B, C, H, W]``.

    `kind` says what is attacked, and how: an attack names the kinds that it knows.
    """

    kind: ClassVar[str] = "images"
    eps: float
    norm: ClassVar[str]
    largest: ClassVar[float]  # the largest radius that is accepted

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise `UserError` for what cannot be attacked under this threat."""

    @abstractmethod
    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """The allowed image nearest to each perturbed one."""

    @abstractmethod
    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        """An allowed image drawn at random, by each image's own numbers, or by torch's own generator."""

    @abstractmethod
    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        """The direction of length 1 (in the threat's norm) along which `gradient` leads up fastest. `z` is where it was
        taken: a pixel that is black or white already can go no further.
        """

    @abstractmethod
    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """How far each perturbed image is, in the threat's norm ``[B]``."""

    @abstractmethod
    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """Whether each perturbed image is allowed ``[B]``; what holds a NaN is not."""

    @property
    def unit(self) -> str:
        """What `eps` counts; empty for pixel values in [0, 1]."""
        return ""

    def scaled(self, factor: float) -> Self:
        """The same kind of threat, `factor` times as large."""
        return replace(self, eps=self.eps * factor)  # type: ignore[type-var]


class Ball(Threat):
    """A ball in a norm, inside a box: pixels lie in [0, 1], and counts of event frames from 0 to the largest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_bytes(self.eps, self.largest, self.norm)

    @property
    def box(self) -> Box:
        """Which values there can be at all."""
        return UnitBox()

    def check(self, x: Tensor) -> None:
        self.box.check(x)

    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        inside = ((perturbed >= 0) & (perturbed <= self.box.top(x))).flatten(1).all(1)
        return inside & (self.distance(perturbed, x) <= self.reach)

    @property
    def reach(self) -> float:
        """`eps`, and what rounding is forgiven."""
        return self.eps * (1 + ROUNDING) + ROUNDING

    def room(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How far each value is from the ends of the box: the lowest and the highest change ``[B, D]``."""
        return -x.flatten(1), (self.box.top(x) - x).flatten(1)

    def __str__(self) -> str:
        return f"{self.norm} {self.eps:g}"


@dataclass(frozen=True)
class Linf(Ball):
    """Every pixel may change by at most `eps` in [0, 1]; written 8/255, not 8."""

    eps: Pixels = 8 / 255
    norm: ClassVar[str] = "Linf"
    largest: ClassVar[float] = 1.0

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        wanted = self.box.finite(perturbed, x)
        near = torch.maximum(torch.minimum(wanted, x + self.eps), x - self.eps)
        return self.box.settle(near, x, self.reach)

    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        streams = streams or Streams.fresh(x)
        return self.project(x + self.eps * (2 * streams.uniform(*x.shape[1:], like=x) - 1), x)

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed - x).abs().flatten(1).amax(1)

    def __str__(self) -> str:
        return f"Linf {readable(self.eps)}"


@dataclass(frozen=True)
class L2(Ball):
    """The change has Euclidean length at most `eps` over all pixels; 0.5 and 1 are usual for 32x32 images."""

    eps: Pixels = 0.5
    norm: ClassVar[str] = "L2"
    largest: ClassVar[float] = 10.0

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """Exact: the nearest point of ball and box together is clip(x + c (perturbed - x)) for one c in [0, 1]."""
        delta = (self.box.finite(perturbed, x) - x).flatten(1)
        change = shrunk_and_clipped(delta, *self.room(x), self.eps).view_as(x)
        return self.box.settle(x + change, x, change.abs())

    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        """Uniform in the ball, and projected into the box."""
        streams = streams or Streams.fresh(x)
        direction = streams.normal(*x.shape[1:], like=x).flatten(1)
        size = streams.uniform(1, like=x) ** (1 / direction.shape[1])
        return self.project(x + (self.eps * size * unit(direction)).view_as(x), x)

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        return unit(gradient.flatten(1)).view_as(gradient)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed.double() - x).flatten(1).norm(dim=1).to(x.dtype)


@dataclass(frozen=True)
class L1(Ball):
    """The changes of all pixels add up to at most `eps`; 12 is usual for 32x32 images, 255 for 224x224 ones.

    The set is what is left of the ball in [0, 1]: a pixel saturates long before the budget is spent. Source: Croce and
    Hein, ICML 2021.
    """

    eps: Pixels = 12.0
    norm: ClassVar[str] = "L1"
    largest: ClassVar[float] = 1000.0

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """Exact: the nearest point of ball and box together shrinks every change by the same amount, and clips it.

        Rounded toward `x`: what thousands of pixels are rounded up by adds up to more than `contains` forgives.
        """
        delta = (perturbed - x).flatten(1)
        change = lowered_and_clipped(delta, *self.room(x), self.eps).view_as(x)
        near = (x + change).to(x.dtype)
        over = (near.double() - x).abs() > change.abs()
        return self.box.settle(torch.where(over, near.nextafter(x), near), x, change.abs())

    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        """Uniform in the ball, mirrored where a pixel would leave the box: most of them have room on one side alone."""
        streams, shape = streams or Streams.fresh(x), x.shape[1:]
        size = -streams.uniform(*shape, like=x).log()  # exponential
        change = (size * streams.signs(*shape, like=x)).flatten(1)
        length = streams.uniform(1, like=x) ** (1 / change.shape[1])
        change = (self.eps * length * change / change.abs().sum(1, keepdim=True)).view_as(x)
        outside = (x + change < 0) | (x + change > self.box.top(x))
        return self.project(x + torch.where(outside, -change, change), x)

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        """The same change in `SPREAD` eps pixels: those with the largest gradient among all that `z` leaves free.

        One pixel alone would grow fastest, until it saturates, which takes 1 at most.
        """
        gradient = gradient.masked_fill(((z <= 0) & (gradient < 0)) | ((z >= 1) & (gradient > 0)), 0)
        rows = gradient.flatten(1)
        changed = min(max(math.ceil(SPREAD * self.eps), 1), rows.shape[1])
        top = rows.abs().topk(changed, dim=1).indices
        sign = torch.zeros_like(rows).scatter(1, top, rows.gather(1, top).sign())
        return (sign / sign.abs().sum(1, keepdim=True).clamp(min=1)).view_as(gradient)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed.double() - x).abs().flatten(1).sum(1).to(x.dtype)


def unit(rows: Tensor) -> Tensor:
    # Scaled by the largest entry first: the squares of gradients near 1e-25 underflow.
    rows = rows / rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)


def shrunk_and_clipped(delta: Tensor, lower: Tensor, upper: Tensor, eps: float) -> Tensor:
    """clip(c delta, lower, upper) ``[B, D]`` with the largest c <= 1 that makes its length at most `eps`.

    Its squared length is a piecewise quadratic in c, with a break where an entry reaches its bound. Sorting the breaks
    finds the piece, and the piece gives c in closed form.
    """
    size = delta.abs().double()
    bound = torch.where(delta > 0, upper, lower).abs().double().minimum(size)  # as c <= 1, all that can be reached
    breaks = bound / size.clamp(min=1e-300)
    order = breaks.argsort(1)
    breaks, size2 = breaks.gather(1, order), size.gather(1, order) ** 2
    clipped2 = (bound**2).gather(1, order).cumsum(1)
    clipped2 = torch.cat([torch.zeros_like(clipped2[:, :1]), clipped2[:, :-1]], 1)  # before each break
    free2 = size2.flip(1).cumsum(1).flip(1)  # still growing up to each break
    reached = clipped2 + breaks**2 * free2 >= eps**2
    piece = torch.where(reached.any(1), reached.double().argmax(1), reached.shape[1] - 1).unsqueeze(1)
    room = (eps**2 - clipped2.gather(1, piece)).clamp(min=0)
    c = (room / free2.gather(1, piece).clamp(min=1e-300)).sqrt()
    last_break = torch.where(piece > 0, breaks.gather(1, (piece - 1).clamp(min=0)), 0)
    c = c.maximum(last_break).minimum(breaks.gather(1, piece))  # so that rounding cannot leave the piece
    c = torch.where(reached.any(1, keepdim=True), c, torch.ones_like(c)).to(delta.dtype)
    return (c * delta).maximum(lower).minimum(upper)


def lowered_and_clipped(delta: Tensor, lower: Tensor, upper: Tensor, eps: float) -> Tensor:
    """sign(delta) clip(|delta| - c, 0, bound) ``[B, D]`` with the least c >= 0 that makes its L1 length at most `eps`.

    The length is a piecewise linear function of c, with breaks where an entry leaves its bound and where it vanishes.
    Sorting the breaks finds the piece, and the piece gives c in closed form. In double, whatever `delta` is in.
    """
    size = delta.abs().double()
    bound = torch.where(delta > 0, upper, lower).abs().double().minimum(size)
    breaks, order = torch.cat([size - bound, size], 1).sort(1)
    falling = torch.where(order < size.shape[1], 1, -1).cumsum(1)[:, :-1]  # entries that grow less with c, per piece
    drops = falling * breaks.diff(dim=1)
    length = torch.cat([drops.flip(1).cumsum(1).flip(1), torch.zeros_like(drops[:, :1])], 1)  # at each break
    found = (length <= eps).double().argmax(1, keepdim=True)  # the first such break; at the last one nothing is left
    slack = eps - length.gather(1, found)
    before = (found - 1).clamp(min=0)
    c = breaks.gather(1, found) - slack / falling.gather(1, before).clamp(min=1)
    c = torch.where(found > 0, c.maximum(breaks.gather(1, before)), 0)
    return delta.sign() * (size - c).clamp(min=0).minimum(bound)


def refuse_bytes(eps: float, largest: float, norm: str) -> None:
    """Raise `UserError` for a radius that can only be meant on the 0-255 scale."""
    if eps > largest:
        right = f"write {eps:g}/255" if norm == "Linf" else f"{'0.5' if norm == 'L2' else 12} is usual for 32x32 pixels"
        raise UserError(f"{norm} eps {eps:g} looks like the 0-255 scale: images lie in [0, 1] here, {right}")


def readable(eps: float) -> str:
    """`eps` as k/255 where k is a whole number, else as a decimal."""
    k = round(eps * 255)
    return f"{k}/255" if abs(k - eps * 255) < 1e-6 else f"{eps:.4g}"

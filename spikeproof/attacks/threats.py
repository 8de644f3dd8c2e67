"""What may the adversary do? Threats: the allowed set, its projection, a start in it, a step of steepest ascent.

All radii are in pixel units, images lie in [0, 1], and every allowed image lies in [0, 1] too.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from spikeproof.specs import Pixels, UserError, pixels

__all__ = ["L2", "Linf", "Threat"]

ROUNDING = 1e-6  # float32 rounds x + delta by up to 6e-8 a pixel; more than this outside the set is outside


class Threat(ABC):
    """A set of allowed images round each image, of size `eps`. Tensors are ``[B, C, H, W]``."""

    eps: float

    @abstractmethod
    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """The allowed image nearest to each perturbed one."""

    @abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """An allowed image drawn at random."""

    @abstractmethod
    def ascent(self, gradient: Tensor) -> Tensor:
        """The direction of length 1 (in the threat's norm) along which `gradient` grows fastest."""

    @abstractmethod
    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """How far each perturbed image is, in the threat's norm ``[B]``."""

    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """Whether each perturbed image is allowed ``[B]``: near enough, in [0, 1], and no NaN."""
        inside = ((perturbed >= 0) & (perturbed <= 1)).flatten(1).all(1)
        return inside & (self.distance(perturbed, x) <= self.eps * (1 + ROUNDING) + ROUNDING)

    def scaled(self, factor: float) -> Self:
        """The same kind of threat, `factor` times as large."""
        return replace(self, eps=self.eps * factor)  # type: ignore[type-var]


@dataclass(frozen=True)
class Linf(Threat):
    """Every pixel may change by at most `eps` in [0, 1]; written 8/255, not 8."""

    eps: Pixels = 8 / 255
    largest: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", radius(self.eps, self.largest, "Linf"))

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(perturbed, x + self.eps), x - self.eps).clamp(0, 1)

    def start(self, x: Tensor) -> Tensor:
        return self.project(x + self.eps * (2 * torch.rand_like(x) - 1), x)

    def ascent(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed - x).abs().flatten(1).amax(1)

    def __str__(self) -> str:
        return f"Linf {readable(self.eps)}"


@dataclass(frozen=True)
class L2(Threat):
    """The change has Euclidean length at most `eps` over all pixels; 0.5 and 1 are usual for 32x32 images."""

    eps: Pixels = 0.5
    largest: ClassVar[float] = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", radius(self.eps, self.largest, "L2"))

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """Exact: the nearest point of ball and box together is clip(x + c (perturbed - x)) for one c in [0, 1]."""
        delta = (perturbed - x).flatten(1)
        lower, upper = -x.flatten(1), 1 - x.flatten(1)
        return (x + _shrink_and_clip(delta, lower, upper, self.eps).view_as(x)).clamp(0, 1)

    def start(self, x: Tensor) -> Tensor:
        direction = torch.randn_like(x).flatten(1)
        size = torch.rand(len(x), 1, device=x.device, dtype=x.dtype) ** (1 / direction.shape[1])
        return self.project(x + (self.eps * size * _unit(direction)).view_as(x), x)

    def ascent(self, gradient: Tensor) -> Tensor:
        return _unit(gradient.flatten(1)).view_as(gradient)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed - x).flatten(1).norm(dim=1)

    def __str__(self) -> str:
        return f"L2 {self.eps:g}"


def _unit(rows: Tensor) -> Tensor:
    # Scaled by the largest entry first: the squares of gradients near 1e-25 underflow.
    rows = rows / rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)


def _shrink_and_clip(delta: Tensor, lower: Tensor, upper: Tensor, eps: float) -> Tensor:
    """clip(c delta, lower, upper) ``[B, D]`` with the largest c <= 1 that makes its length at most `eps`.

    Its squared length is a piecewise quadratic in c, with a break where an entry reaches its bound; sorting the
    breaks finds the piece, and the piece gives c in closed form.
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


def radius(value: float | str, largest: float, norm: str) -> float:
    """A radius in pixel units; refuses one that can only be meant on the 0-255 scale."""
    eps = pixels(value, "eps")
    if eps > largest:
        right = f"write {eps:g}/255" if norm == "Linf" else "0.5 is usual for 32x32 pixels"
        raise UserError(f"{norm} eps {value} looks like the 0-255 scale: images lie in [0, 1] here, {right}")
    return eps


def readable(eps: float) -> str:
    """`eps` as k/255 where k is a whole number, else as a decimal."""
    k = round(eps * 255)
    return f"{k}/255" if abs(k - eps * 255) < 1e-6 else f"{eps:.4g}"

"""How may frames change whose values are real numbers, as those of images are, up to a largest count?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.inputs import check_frames
from spikeproof.attacks.threats import ROUNDING, Threat, in_ball, shrunk_and_clipped, unit
from spikeproof.specs import Pixels, UserError, pixels

__all__ = ["FrameL2", "FrameLinf"]


@dataclass(frozen=True)
class FrameThreat(Threat):
    """Frames of real values from 0 to `most` (None: the recording's own largest count), `eps` in events a cell."""

    eps: Pixels = 1.0
    most: float | None = None
    kind: ClassVar[str] = "frames"
    largest: ClassVar[float] = 1e6

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", pixels(self.eps, "eps"))
        if self.most is not None and not 0 < self.most < float("inf"):
            raise UserError(f"most is the largest count of events in a cell of a frame, and positive; not {self.most}")

    def check(self, x: Tensor) -> None:
        check_frames(x)
        if self.most is not None and x.max() > self.most:
            raise UserError(f"a frame has {x.max().item():g} events in a cell, more than the {self.most:g} of {self}")

    def top(self, x: Tensor) -> Tensor:
        """The largest value allowed in each recording, with as many axes as `x`."""
        own = x.flatten(1).amax(1) if self.most is None else torch.full_like(x[:, 0, 0, 0, 0], self.most)
        return own.view(-1, *[1] * (x.ndim - 1))

    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        inside = ((perturbed >= 0) & (perturbed <= self.top(x))).flatten(1).all(1)
        return inside & (self.distance(perturbed, x) <= self.eps * (1 + ROUNDING) + ROUNDING)

    def _rounded_inward(self, near: Tensor, x: Tensor, most: float | Tensor) -> Tensor:
        """One step back to `x` where x + change was rounded by more than `contains` forgives, in counts of hundreds."""
        near = torch.where((near.double() - x).abs() > most, near.nextafter(x), near)
        return near.clamp(min=0).minimum(self.top(x))

    def __str__(self) -> str:
        bound = "" if self.most is None else f", counts to {self.most:g}"
        return f"frame {self.norm} {self.eps:g}{bound}"


@dataclass(frozen=True)
class FrameLinf(FrameThreat):
    """Every cell of every frame may change by `eps` events, fractions too, between 0 and `most`."""

    norm: ClassVar[str] = "Linf"
    unit: ClassVar[str] = "events a cell, Linf norm"

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        wanted = torch.where(perturbed.isnan(), x, perturbed)
        near = torch.maximum(torch.minimum(wanted, x + self.eps), x - self.eps)
        return self._rounded_inward(near, x, self.eps * (1 + ROUNDING) + ROUNDING)

    def start(self, x: Tensor) -> Tensor:
        return self.project(x + self.eps * (2 * torch.rand_like(x) - 1), x)

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed - x).abs().flatten(1).amax(1)


@dataclass(frozen=True)
class FrameL2(FrameThreat):
    """The change of all cells of all frames has Euclidean length at most `eps`; values stay between 0 and `most`."""

    eps: Pixels = 5.0
    norm: ClassVar[str] = "L2"
    unit: ClassVar[str] = "events, L2 norm over all cells"

    def project(self, perturbed: Tensor, x: Tensor) -> Tensor:
        delta = (torch.where(perturbed.isfinite(), perturbed, x) - x).flatten(1)
        change = shrunk_and_clipped(delta, -x.flatten(1), (self.top(x) - x).flatten(1), self.eps).view_as(x)
        return self._rounded_inward(x + change, x, change.abs())

    def start(self, x: Tensor) -> Tensor:
        return self.project(x + in_ball(x, self.eps), x)

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        return unit(gradient.flatten(1)).view_as(gradient)

    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return (perturbed.double() - x).flatten(1).norm(dim=1).to(x.dtype)

"""Which radius follows from votes of a network of Poisson code? In L1 and in Linf."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from spikeproof.attacks import L1, Linf, Threat
from spikeproof.certificates.rate_radii import (
    contrast_radius,
    hellinger_radius,
    nearest_to_an_end,
    published_radius,
    universal_radius,
)
from spikeproof.certificates.smoothed import CodedSpikes
from spikeproof.certificates.voting import Voted
from spikeproof.choices import UserError, Within, short
from spikeproof.snn import Poisson, SpikingNetwork, view

__all__ = ["RateCodingL1", "RateCodingLinf"]

GRAIN = 2.0**-23  # a spike of float32 has a probability of whole 2^-24; of two images, each rate may be so far off


@dataclass(frozen=True, kw_only=True)
class RateCoding(Voted):
    """T independent spikes a pixel, each of probability margin + (1 - 2 margin) x, are the noise.

    For networks whose encoder is `Poisson`, of the same `margin`.
    """

    margin: Annotated[float, Within(0, 0.5, "[)")] = 0.0

    @property
    def code(self) -> Poisson:
        return Poisson(margin=self.margin)

    def network(self, model: nn.Module) -> nn.Module:
        if not isinstance(model, SpikingNetwork) or not isinstance(model.encoder, Poisson):
            own = short(model.encoder) if isinstance(model, SpikingNetwork) else "no code of ours"
            raise UserError(
                f"{type(self).__name__} is about the encoder Poisson, and the network has {own}: "
                "train one with Poisson, or take GaussianSmoothing"
            )
        if model.encoder.margin != self.margin:
            raise UserError(
                f"the network spikes with a margin of {model.encoder.margin:g}, and the certificate says "
                f"{self.margin:g}: take {type(self).__name__}(margin={model.encoder.margin:g})"
            )
        return view(model, encoder=CodedSpikes())

    def draw(self, x: Tensor, steps: int) -> Tensor:
        return self.code(x, steps).transpose(0, 1)


@dataclass(frozen=True, kw_only=True)
class RateCodingL1(RateCoding):
    """L1 radii of Poisson code, in pixel units.

    `bound` "universal" is pA^(1/T) - 2^(-1/T), for any image. "aware" is larger where no rate comes near 0 or 1: with a
    margin, or on an image without black and white pixels. "published" is pA - 1/2 of Mukhoty et al., ICLR 2024, which
    is wrong for T > 1: it is refused unless `unsound` is set, and is there to be compared. The others are our
    derivations.
    """

    threat: ClassVar[type[Threat]] = L1

    bound: Literal["aware", "universal", "published"] = "aware"
    unsound: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound == "published" and not self.unsound:
            raise UserError(
                "the published radius pA - 1/2 is wrong for more than one step: with 4 spikes of one pixel and the "
                "class [at least 2], x = 0.5 has pA 0.6875, and x = 0.3125, inside the radius of 0.1875, has 0.370. "
                'Take the bound "aware"; unsound=True keeps this one for comparison'
            )

    def radius(self, p: float, x: Tensor, steps: int) -> float:
        if self.bound == "aware":
            found = contrast_radius(p, steps, self.margin, nearest_to_an_end(self.code.rates(x)))
        else:
            found = (universal_radius if self.bound == "universal" else published_radius)(p, steps)
        return (found - GRAIN * x.numel()) / (1 - 2 * self.margin)


@dataclass(frozen=True, kw_only=True)
class RateCodingLinf(RateCoding):
    """Linf radii of Poisson code, in pixel units, by the angle between two distributions of codes.

    Certified if arccos sqrt(pA) + arccos B < pi / 4, with B the affinity of the codes of x and of the worst x' in the
    ball. Small: near 1/255 at T = 4. Our derivation.
    """

    threat: ClassVar[type[Threat]] = Linf

    def radius(self, p: float, x: Tensor, steps: int) -> float:
        rates = self.code.rates(x.double()).flatten().cpu().numpy()
        return (hellinger_radius(p, rates, steps, self.margin) - GRAIN) / (1 - 2 * self.margin)

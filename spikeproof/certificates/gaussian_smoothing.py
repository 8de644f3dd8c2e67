"""Which radius follows from votes under normal noise on pixels? sigma times a normal quantile, in L2."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from spikeproof.attacks import L2, Threat
from spikeproof.certificates.smoothed import CodedCurrents
from spikeproof.certificates.voting import Voted
from spikeproof.choices import Pixels, UserError, Within, short
from spikeproof.snn import RSC, Direct, SpikingNetwork, view

__all__ = ["GaussianSmoothing"]


@dataclass(frozen=True, kw_only=True)
class GaussianSmoothing(Voted):
    """Normal noise of deviation `sigma` on every pixel, before normalisation and not clipped: L2 radii.

    Variant "I" draws once for all time steps: radius sigma Phi^-1(pA). "II" draws anew at each of T steps, as RSC-II
    does: sigma / sqrt(T) Phi^-1(pA), as T copies of a change add up. Both are tight. For spiking networks, ANNs and
    foreign ones ("I"); the noise of an `RSC` network has to be the same. Source: Cohen et al., ICML 2019, theorem 1; Wu
    et al., ACM MM 2024, for RSC; the radius of variant II is our derivation.
    """

    threat: ClassVar[type[Threat]] = L2

    sigma: Annotated[Pixels, Within(0, 1, "(]")] = 0.25
    variant: Literal["I", "II"] = "I"

    def network(self, model: nn.Module) -> nn.Module:
        if not isinstance(model, SpikingNetwork):
            refuse_noise_inside(model, self)
            if self.variant == "II":
                raise UserError("the time steps of a network from elsewhere are inside it: take variant I")
            return model
        encoder = model.encoder
        if isinstance(encoder, RSC):
            self._refuse_other(encoder, model.steps)
        elif encoder.stochastic:
            raise UserError(f"{short(self)} says nothing of a network whose encoder is {short(encoder)}: {OF_CODES}")
        elif encoder.framed:
            raise UserError(f"{short(self)} is about images, and the network takes event frames")
        if self.variant == "II":
            if not isinstance(encoder, RSC | Direct):
                raise UserError(f"variant II puts noise on the currents of each step, and {short(encoder)} has none")
            return view(model, encoder=CodedCurrents())
        return view(model, encoder=Direct()) if isinstance(encoder, RSC) else model

    def _refuse_other(self, encoder: RSC, steps: int) -> None:
        if encoder.moments != "fixed":
            raise UserError(
                f"the variance of {short(encoder)} depends on the image, and no such certificate is known: "
                "train with RSC(sigma=...), whose variance is fixed"
            )
        alike = steps == 1 or encoder.variant == self.variant
        if not (math.isclose(encoder.sigma, self.sigma) and alike):
            own = f"sigma={encoder.sigma:g}, variant={encoder.variant!r}"
            raise UserError(
                f"the network draws noise of its own, {own}: certify GaussianSmoothing({own}), "
                "or a view of it with another encoder"
            )

    def draw(self, x: Tensor, steps: int) -> Tensor:
        drawn = RSC(sigma=self.sigma, variant=self.variant)(x, steps)
        return drawn.squeeze(0) if self.variant == "I" else drawn.transpose(0, 1)

    def radius(self, p: float, x: Tensor, steps: int) -> float:
        return self.sigma / math.sqrt(steps if self.variant == "II" else 1) * NormalDist().inv_cdf(p)


OF_CODES = "for spikes drawn from Poisson take RateCodingL1 or RateCodingLinf, for Thresholds SharedThresholds"


def refuse_noise_inside(model: nn.Module, certificate: Voted) -> None:
    """Raise `UserError` for a network that draws noise somewhere inside: nothing is known of noise there."""
    if any(getattr(module, "stochastic", False) for module in model.modules()):
        raise UserError(
            f"the network draws noise inside it, behind normalisation perhaps, and {type(certificate).__name__} is "
            "about noise on pixels: hand in the spikeproof network itself, or one without noise"
        )

"""What is a smoothed network? One that draws noise before each pass: a model like any other, which can be attacked."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from spikeproof.certificates.voting import Voted, steps_of
from spikeproof.snn import Encoder, adapt

__all__ = ["Smoothed"]


class Smoothed(nn.Module):
    """Images ``[B, C, H, W]`` -> logits ``[B, K]`` of one pass under the noise of a `certificate`, drawn anew.

    What a certificate is about is the class that most passes name: ``predict(smoothed, x, draws=100, vote=True)``. It
    is a view of `model`: training either trains both. Raises `UserError` for a network that the certificate cannot be
    about.
    """

    stochastic = True

    def __init__(self, model: nn.Module, certificate: Voted) -> None:
        super().__init__()
        self.certificate = certificate
        self.network = certificate.network(adapt(model))
        self.steps = steps_of(self.network)
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.network(self.certificate.draw(x, self.steps))
        return answer

    def extra_repr(self) -> str:
        return f"certificate={self.certificate}"


@dataclass(frozen=True, kw_only=True)
class CodedSpikes(Encoder):
    """Spikes that were drawn before, ``[B, T, C, H, W]``."""

    framed: ClassVar[bool] = True

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        return x.transpose(0, 1)


@dataclass(frozen=True, kw_only=True)
class CodedCurrents(CodedSpikes):
    """Noisy images, one a step, ``[B, T, C, H, W]``, in pixel units."""

    normalised: ClassVar[bool] = True

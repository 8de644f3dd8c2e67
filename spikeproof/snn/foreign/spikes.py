"""How does a spike of another library answer along a gradient path of ours?"""

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from spikeproof.snn.gradients import GradientPath, Slope
from spikeproof.snn.paths import ASSG, AdaptiveSharpness, as_answered

StepPath = Slope | ASSG
"""A path that needs one step alone; the others need all of them at once."""


def takes(path: GradientPath) -> TypeGuard[StepPath]:
    """Whether another library's neurons, which step through time themselves, can answer along `path`."""
    return isinstance(path, StepPath)


class ForeignSpike(nn.Module):
    """The spikes that a library's function `own` gives, exactly, answering backward along `path`."""

    def __init__(self, own: Callable[..., Tensor], path: StepPath) -> None:
        super().__init__()
        self.own = own
        self.gradient: Slope | AdaptiveSharpness = path.for_layer() if isinstance(path, ASSG) else path

    def forward(self, u: Tensor, *settings: Any) -> Tensor:
        with torch.no_grad():
            spikes = self.own(u, *settings)
        if not torch.is_grad_enabled():
            return spikes
        with torch.no_grad():
            slope = self.gradient.derivative(u)
        return as_answered(spikes, u * slope)

    def extra_repr(self) -> str:
        return f"gradient={self.gradient}"

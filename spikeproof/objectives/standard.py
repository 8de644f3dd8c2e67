"""Plain training on clean images."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.choices import Share
from spikeproof.objectives.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Standard(Objective):
    """CE(z(x), y)."""

    label_smoothing: Share = 0.0

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(model(x), y, label_smoothing=self.label_smoothing)}

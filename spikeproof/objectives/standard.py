"""Plain training on clean images."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.objectives.objective import Objective, check_smoothing


@dataclass(frozen=True, kw_only=True)
class Standard(Objective):
    """CE(z(x), y)."""

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(model(x), y, label_smoothing=self.label_smoothing)}

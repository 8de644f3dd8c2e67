"""Training on images with Gaussian noise."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.choices import Pixels, Share, UserError
from spikeproof.objectives.objective import Objective, in_range


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Objective):
    """CE(z(clip(x + sigma n)), y), n standard normal and drawn anew; sigma in pixel units.

    Source: Bishop, 1995. `clamp=False` leaves [0, 1], as randomised smoothing wants it (Cohen et al., ICML 2019).
    """

    sigma: Pixels = 8 / 255
    clamp: bool = True
    label_smoothing: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma > 2:
            wrong = f"{self.sigma:g}"
            raise UserError(f"sigma {wrong} looks like the 0-255 scale: images lie in [0, 1], write {wrong}/255")

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        noisy = x + self.sigma * torch.randn_like(x)
        logits = model(in_range(noisy, x) if self.clamp else noisy)
        return {"cross_entropy": F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)}

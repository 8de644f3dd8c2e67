"""How does Adam turn gradients into steps?"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

DECAY, DECAY2 = 0.9, 0.999  # of the running means of gradients and of their squares


class Moments(NamedTuple):
    """Running means of gradients and of their squares, and how many gradients there were."""

    mean: Tensor
    mean2: Tensor
    gradients: int = 0

    @staticmethod
    def none(x: Tensor) -> "Moments":
        """Those of gradients like `x`, before there is one."""
        return Moments(torch.zeros_like(x), torch.zeros_like(x))

    def with_gradient(self, gradient: Tensor) -> "Moments":
        return Moments(
            DECAY * self.mean + (1 - DECAY) * gradient,
            DECAY2 * self.mean2 + (1 - DECAY2) * gradient**2,
            self.gradients + 1,
        )

    def of(self, index: Any) -> "Moments":
        """Those of a part of the entries, by any index of a tensor."""
        return self._replace(mean=self.mean[index], mean2=self.mean2[index])

    @property
    def step(self) -> Tensor:
        """The step uphill at a learning rate of 1; the means' start at 0 is corrected for. At first +-1 or 0."""
        size = (self.mean2 / (1 - DECAY2**self.gradients)).sqrt() + 1e-8
        return self.mean / (1 - DECAY**self.gradients) / size

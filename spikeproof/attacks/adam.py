"""How does Adam turn gradients into steps?"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.query import per_image

DECAY, DECAY2 = 0.9, 0.999  # of the running means of gradients and of their squares


class Moments(NamedTuple):
    """Running means ``[B, ...]`` of gradients and of their squares, and how many gradients there were ``[B]``."""

    mean: Tensor
    mean2: Tensor
    gradients: Tensor

    @staticmethod
    def none(x: Tensor) -> "Moments":
        """Those of gradients like `x`, before there is one."""
        return Moments(torch.zeros_like(x), torch.zeros_like(x), torch.zeros(len(x), dtype=x.dtype, device=x.device))

    def with_gradient(self, gradient: Tensor) -> "Moments":
        return Moments(
            DECAY * self.mean + (1 - DECAY) * gradient,
            DECAY2 * self.mean2 + (1 - DECAY2) * gradient**2,
            self.gradients + 1,
        )

    def begun_anew(self, rows: Tensor) -> "Moments":
        """Those of no gradient where `rows` ``[B]`` says so."""
        return Moments(*(part.masked_fill(per_image(rows, part), 0) for part in self))

    @property
    def step(self) -> Tensor:
        """The step uphill at a learning rate of 1; the means' start at 0 is corrected for. At first +-1 or 0."""
        # 1 - decay^n by expm1: float32 rounds 0.999^n to 6e-8, which is 6e-5 of what is left of 1
        first, second = (per_image(-(self.gradients * math.log(decay)).expm1(), self.mean) for decay in (DECAY, DECAY2))
        return self.mean / first / ((self.mean2 / second).sqrt() + 1e-8)

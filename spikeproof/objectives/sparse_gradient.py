"""SR: training for a sparse input gradient, which bounds how far an attack can get beyond random noise."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import Attack, Linf, Threat
from spikeproof.attacks.losses import pairwise_probability, strongest_rival
from spikeproof.choices import NonNegative, Pixels, Share, Within
from spikeproof.objectives.objective import Objective, adversarial_images, in_range
from spikeproof.snn import without_statistics


@dataclass(frozen=True, kw_only=True)
class SparseGradient(Objective):
    """CE(z(x), y) + weight mean_i d_i^2, with d_i = (f(x_i + step sign g_i) - f(x_i)) / step close to ||g_i||_1.

    f = sigmoid(z_y - z_j) is the probability of the label against its strongest rival j at x alone, and g = df/dx.
    Gradients flow through both f, not through the sign. With an `attack` all of this is done at adversarial images
    of `threat` instead (SR*). Source: Liu et al., ICML 2024, arXiv 2405.20355, and its published code, which also
    updates batch-norm statistics with the shifted images: `freeze_statistics` does not. `double_backward` takes
    ||g||_1 itself, at a second derivative's cost; on a spiking network the two differ, since the difference is that
    of the true forward and g is a surrogate. The weight that the paper used is not known: choose it by validation.
    """

    weight: NonNegative = 0.001
    step: Annotated[Pixels, Within(0, 1, "(]")] = 0.01
    estimate: Literal["finite_difference", "double_backward"] = "finite_difference"
    penalty: Literal["squared", "absolute"] = "squared"
    clamp: bool = False
    freeze_statistics: bool = False
    attack: Attack | None = None
    threat: Threat = Linf()
    label_smoothing: Share = 0.0

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.attack is not None:
            x = adversarial_images(model, x, y, self.attack, self.threat)
        x = x.detach().requires_grad_(self.weight > 0)
        logits = model(x)
        terms = {"cross_entropy": F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)}
        if self.weight > 0:
            size = self.gradient_size(model, x, y, logits)
            size = size.square() if self.penalty == "squared" else size.abs()
            terms["gradient_size"] = self.weight * size.mean()
        return terms

    def gradient_size(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor:
        """||df/dx||_1 per image ``[B]``, estimated or exact, differentiable in the weights; `logits` are at `x`."""
        rival = strongest_rival(logits, y)
        sure = pairwise_probability(logits, y, rival)
        if self.estimate == "double_backward":
            (slope,) = torch.autograd.grad(sure.sum(), x, create_graph=True)
            return slope.abs().flatten(1).sum(1)
        (slope,) = torch.autograd.grad(sure.sum(), x, retain_graph=True)
        shifted = x.detach() + self.step * slope.sign()
        other = without_statistics(model) if self.freeze_statistics else model
        there = pairwise_probability(other(in_range(shifted, x) if self.clamp else shifted), y, rival)
        return (there - sure) / self.step

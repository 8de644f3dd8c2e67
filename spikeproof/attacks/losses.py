"""What does an attack maximise? Losses per image: logits ``[B, K]`` and targets -> ``[B]``, larger is more adversarial.

Targets are labels ``[B]``; a `TargetedLoss` takes rows (label, class to reach) ``[B, 2]`` of integers and
`KullbackLeibler` probabilities ``[B, K]``.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeproof.choices import Choice, UserError

__all__ = [
    "AttackLoss",
    "CrossEntropy",
    "DLR",
    "KullbackLeibler",
    "Margin",
    "TargetedCrossEntropy",
    "TargetedDLR",
    "TargetedLoss",
    "TargetedMargin",
]


class AttackLoss(Choice):
    """A loss per image that is larger where the network is closer to a mistake."""

    @abstractmethod
    def __call__(self, logits: Tensor, target: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(AttackLoss):
    """-log p_y. Its gradient vanishes where the network is very sure: try a margin too."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Margin(AttackLoss):
    """max over j != y of z_j, minus z_y: positive where misclassified. Source: Carlini and Wagner, 2017."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        return others(logits, target).amax(1) - entry(logits, target)


@dataclass(frozen=True, kw_only=True)
class DLR(AttackLoss):
    """-(z_y - max over j != y of z_j) / (z_(1) - z_(3)): blind to shift and scale of the logits.

    Source: Croce and Hein, ICML 2020, eq. 6. With fewer than three classes it is the margin.
    """

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        margin = Margin()(logits, target)
        if logits.shape[1] < 3:
            return margin
        top = logits.topk(3, dim=1).values
        return margin / (top[:, 0] - top[:, 2] + 1e-12)


class TargetedLoss(AttackLoss):
    """A loss that leads to one given class; its targets are rows (label, class to reach) ``[B, 2]`` of integers."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.ndim != 2 or target.shape[1] != 2 or target.is_floating_point():
            raise UserError(
                f"{type(self).__name__} needs rows (label, class to reach) [B, 2] of integers, not "
                f"{list(target.shape)}; Targeted makes them from labels"
            )
        return self.toward(logits, *target.unbind(1))

    @abstractmethod
    def toward(self, logits: Tensor, label: Tensor, goal: Tensor) -> Tensor:
        """The loss ``[B]``, larger where the network is closer to naming `goal` instead of `label`."""


@dataclass(frozen=True, kw_only=True)
class TargetedCrossEntropy(TargetedLoss):
    """log p_t for the class t to reach."""

    def toward(self, logits: Tensor, label: Tensor, goal: Tensor) -> Tensor:
        return -F.cross_entropy(logits, goal, reduction="none")


@dataclass(frozen=True, kw_only=True)
class TargetedMargin(TargetedLoss):
    """z_t - z_y: the boundary between the two classes lies at 0."""

    def toward(self, logits: Tensor, label: Tensor, goal: Tensor) -> Tensor:
        return entry(logits, goal) - entry(logits, label)


@dataclass(frozen=True, kw_only=True)
class TargetedDLR(TargetedLoss):
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2). Source: Croce and Hein, ICML 2020, eq. 7.

    With fewer than four classes it is the margin to the class to reach.
    """

    def toward(self, logits: Tensor, label: Tensor, goal: Tensor) -> Tensor:
        margin = entry(logits, goal) - entry(logits, label)
        if logits.shape[1] < 4:
            return margin
        top = logits.topk(4, dim=1).values
        return margin / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


@dataclass(frozen=True, kw_only=True)
class KullbackLeibler(AttackLoss):
    """KL(target || softmax(logits)) for target probabilities: what TRADES maximises."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.shape != logits.shape:
            raise UserError(f"a divergence needs probabilities {list(logits.shape)} as its target, not labels")
        return F.kl_div(F.log_softmax(logits, 1), target, reduction="none").sum(1)


def labels_of(target: Tensor) -> Tensor:
    """The labels ``[B]`` in a target of any kind; of probabilities, the likeliest class."""
    if target.ndim == 1:
        return target
    return target.argmax(1) if target.is_floating_point() else target[:, 0]


def strongest_rival(logits: Tensor, label: Tensor) -> Tensor:
    """The class of the largest logit among those that are not the label ``[B]``."""
    return others(logits.detach(), label).argmax(1)


def pairwise_probability(logits: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    """sigmoid(z_label - z_rival) ``[B]``: the softmax over these two classes alone."""
    return torch.sigmoid(entry(logits, label) - entry(logits, rival))


def entry(logits: Tensor, index: Tensor) -> Tensor:
    """The logit of one class an image ``[B]``."""
    return logits.gather(1, index.unsqueeze(1)).squeeze(1)


def others(logits: Tensor, label: Tensor) -> Tensor:
    """The logits ``[B, K]``, the label's own as low as can be."""
    return logits.scatter(1, label.unsqueeze(1), -torch.inf)

"""What does an attack maximise? Losses per image: logits ``[B, K]`` and targets -> ``[B]``, larger is more adversarial.

Targets are labels ``[B]``; `KullbackLeibler` takes probabilities ``[B, K]``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeproof.specs import UserError

__all__ = ["AttackLoss", "CrossEntropy", "DLR", "KullbackLeibler", "Margin"]


class AttackLoss(ABC):
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
        own = logits.gather(1, target.unsqueeze(1)).squeeze(1)
        return best_other(logits, target) - own


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


@dataclass(frozen=True, kw_only=True)
class KullbackLeibler(AttackLoss):
    """KL(target || softmax(logits)) for target probabilities: what TRADES maximises."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.shape != logits.shape:
            raise UserError(f"a divergence needs probabilities {list(logits.shape)} as its target, not labels")
        return F.kl_div(F.log_softmax(logits, 1), target, reduction="none").sum(1)


def strongest_rival(logits: Tensor, label: Tensor) -> Tensor:
    """The class of the largest logit among those that are not the label ``[B]``."""
    return logits.detach().masked_fill(F.one_hot(label, logits.shape[1]).bool(), -torch.inf).argmax(1)


def pairwise_probability(logits: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    """sigmoid(z_label - z_rival) ``[B]``: the softmax over these two classes alone."""
    own, other = (logits.gather(1, c.unsqueeze(1)).squeeze(1) for c in (label, rival))
    return torch.sigmoid(own - other)


def best_other(logits: Tensor, label: Tensor) -> Tensor:
    """The largest logit among the classes that are not the label ``[B]``."""
    return logits.masked_fill(F.one_hot(label, logits.shape[1]).bool(), -torch.inf).amax(1)

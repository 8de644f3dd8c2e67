"""What is an objective? A choice that turns a batch into named loss terms; training minimises their sum."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import Attack, Threat
from spikeproof.choices import Choice
from spikeproof.snn import attack_view

Terms = Callable[[nn.Module, Tensor, Tensor], dict[str, Tensor]]


class Objective(Choice):
    """What training minimises: the sum of named terms."""

    @abstractmethod
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Scalar terms, differentiable in the model's parameters, for images `x` in [0, 1] and labels `y`."""

    @property
    def needs_ann(self) -> bool:
        """Whether it learns from an ANN, the recipe's `ann`."""
        return False

    def at(self, epoch: float) -> Self:
        """What is minimised after `epoch` epochs, a fraction inside an epoch; the same all the time, for most."""
        return self

    def check(self, model: nn.Module) -> None:
        """Raise `UserError` for a network that it cannot train; asked before anything is written."""

    def prepared(self, ann: nn.Module | None) -> Terms:
        """The function from ``(model, x, y)`` to terms that a training run calls; `ann` is for whom `needs_ann`."""
        return self

    def after_step(self, model: nn.Module) -> None:
        """What is done to the weights after each step of the optimiser; nothing, for most."""


def adversarial_images(model: nn.Module, x: Tensor, target: Tensor, attack: Attack, threat: Threat) -> Tensor:
    """What `attack` finds against the model as it is now, in eval mode; a fresh seed from the ambient generator."""
    seed = int(torch.randint(2**62, ()))
    return attack(attack_view(model), x, target, threat, seed=seed)


def in_range(perturbed: Tensor, x: Tensor) -> Tensor:
    """`perturbed`, clamped to [0, 1], and for event frames from 0 to the recording's largest count."""
    top = x.detach().flatten(1).amax(1).clamp(min=1)
    return perturbed.clamp(min=0).minimum(top.view(-1, *[1] * (x.ndim - 1)))


def consistency(logits: Tensor, perturbed: Tensor) -> Tensor:
    """KL(p(x) || p(x~)) per image ``[B]``; both branches carry gradient."""
    return F.kl_div(F.log_softmax(perturbed, 1), F.log_softmax(logits, 1), reduction="none", log_target=True).sum(1)

"""What is an objective? A choice that turns a batch into named loss terms; training minimises their sum."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import Attack, Threat
from spikeproof.choices import Choice, UserError
from spikeproof.snn import attack_view


class Objective(Choice):
    """What training minimises: the sum of named terms."""

    @abstractmethod
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Scalar terms, differentiable in the model's parameters, for images `x` in [0, 1] and labels `y`."""

    def prepared(self, ann: nn.Module | None) -> "Objective":
        """The objective as a training run uses it; one that learns from a teacher is given the run's ANN here."""
        return self

    def after_step(self, model: nn.Module) -> None:
        """What is done to the weights after each step of the optimiser; nothing, for most."""


def check_smoothing(label_smoothing: float) -> None:
    """Refuse a share of the target, to be spread over all classes, that is none."""
    if not 0 <= label_smoothing <= 1:
        raise UserError(f"label_smoothing is a share in [0, 1], not {label_smoothing}")


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

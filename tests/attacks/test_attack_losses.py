"""Is each attack's loss what it says, per image, by hand?"""

import json
import math

import pytest
import torch
from torch import Tensor

from spikeproof.attacks import (
    DLR,
    AttackLoss,
    CrossEntropy,
    KullbackLeibler,
    Margin,
    TargetedDLR,
    TargetedLoss,
    TargetedMargin,
)
from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.registry import known

LOSSES = [kind() for kind in known(AttackLoss).values()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
LOGITS = torch.tensor([[1.0, 3.0, 0.0, -1.0], [5.0, 1.0, 2.0, 2.0]])


def target_for(loss: AttackLoss, labels: Tensor, classes: int) -> Tensor:
    """Labels, or with them a class to reach, or for a divergence probabilities that are sure of them."""
    if isinstance(loss, TargetedLoss):
        return torch.stack([labels, (labels + 1) % classes], 1)
    if not isinstance(loss, KullbackLeibler):
        return labels
    sure = torch.full((len(labels), classes), 0.02)
    return sure.scatter(1, labels.unsqueeze(1), 1 - 0.02 * (classes - 1))


@every_loss
def test_contract(loss: AttackLoss) -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = target_for(loss, logits.argmax(1), 5)  # right so far: what an attack has to climb from
    values = loss(logits, target)
    assert values.shape == (6,)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert gradient.isfinite().all()
    assert (gradient.abs().sum(1) > 0).all()
    torch.testing.assert_close(loss(logits[2:4], target[2:4]), values[2:4])  # images do not meet
    assert from_config(json.loads(json.dumps(to_config(loss))), AttackLoss) == loss


@every_loss
def test_larger_is_more_adversarial(loss: AttackLoss) -> None:
    target = target_for(loss, torch.tensor([0]), 3)
    right, unsure, wrong = (loss(torch.tensor([row]), target) for row in ([6.0, 0, 1], [2.0, 1.5, 1], [1.0, 3, 0]))
    assert right < unsure < wrong


def test_cross_entropy_by_hand() -> None:
    found = CrossEntropy()(torch.tensor([[0.0, math.log(3)]]), torch.tensor([0]))
    assert found.item() == pytest.approx(math.log(4))  # p = 1/4


def test_margin_by_hand() -> None:
    assert Margin()(LOGITS, torch.tensor([1, 3])).tolist() == [-2.0, 3.0]
    assert Margin()(LOGITS, torch.tensor([0, 0])).tolist() == [2.0, -3.0]


def test_margin_is_positive_exactly_where_the_label_is_not_predicted() -> None:
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 4
    assert torch.equal(Margin()(logits, labels) > 0, logits.argmax(1) != labels)


def test_dlr_by_hand() -> None:
    # sorted 3, 1, 0, -1: -(3 - 1) / (3 - 0); and with y = 0: -(1 - 3) / 3; sorted 5, 2, 2, 1: -(2 - 5) / (5 - 2)
    assert DLR()(LOGITS[:1], torch.tensor([1])).item() == pytest.approx(-2 / 3)
    assert DLR()(LOGITS[:1], torch.tensor([0])).item() == pytest.approx(2 / 3)
    assert DLR()(LOGITS[1:], torch.tensor([3])).item() == pytest.approx(1)


def test_dlr_is_blind_to_shift_and_scale() -> None:
    labels = torch.tensor([1, 3])
    torch.testing.assert_close(DLR()(100 * LOGITS + 7, labels), DLR()(LOGITS, labels))


def test_dlr_of_two_classes_and_of_equal_logits() -> None:
    assert DLR()(torch.tensor([[1.0, 3.0]]), torch.tensor([1])).tolist() == [-2.0]
    assert DLR()(torch.zeros(1, 4), torch.tensor([1])).tolist() == [0.0]


def test_kullback_leibler_by_hand() -> None:
    # KL((1/2, 1/2) || (1/4, 3/4)) = log(2)/2 + log(2/3)/2
    logits, target = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.5, 0.5]])
    assert KullbackLeibler()(logits, target).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert KullbackLeibler()(logits, logits.softmax(1)).item() == pytest.approx(0, abs=1e-7)
    one_hot = torch.tensor([[1.0, 0.0]])
    assert KullbackLeibler()(logits, one_hot).item() == pytest.approx(math.log(4))  # 0 log 0 is 0


def test_a_divergence_from_labels_is_refused() -> None:
    """With as many images as classes their shapes would fit, and mean nothing."""
    with pytest.raises(UserError, match="probabilities"):
        KullbackLeibler()(torch.zeros(4, 4), torch.tensor([0, 1, 2, 3]))


def test_targeted_losses_by_hand() -> None:
    logits = torch.tensor([[1.0, 3.0, 0.0, -1.0, 2.0]])
    rows = torch.tensor([[1, 3]])  # from class 1 to class 3
    assert TargetedMargin()(logits, rows).item() == -4
    assert TargetedDLR()(logits, rows).item() == pytest.approx(-4 / (3 - (1 + 0) / 2))
    assert TargetedDLR()(logits[:, :3], torch.tensor([[1, 2]])).item() == -3  # too few classes for the scale
    with pytest.raises(UserError, match=r"rows \(label, class to reach\)"):
        TargetedMargin()(logits, torch.tensor([1]))

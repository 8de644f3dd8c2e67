"""DeepFool: one step over a known boundary, and against foolbox and torchattacks."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from outcomes import distances
from torch import Tensor

from spikeproof.attacks.deepfool import DeepFool
from spikeproof.attacks.threats import L2, Linf, Threat
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
FAR = [(Linf(1.0), "LinfDeepFoolAttack"), (L2(10.0), "L2DeepFoolAttack")]


@pytest.mark.parametrize(("threat", "dual"), [(Linf(1.0), 1), (L2(10.0), 2)], ids=str)
def test_one_step_crosses_the_nearest_boundary_of_a_linear_model(
    threat: Threat, dual: int, linear: Callable[[float], Any]
) -> None:
    """|f| / |w| in the dual norm, and a bit more: 2 % of overshoot and 0.0001."""
    model, x, y, known = linear(dual)
    free = known < 0.38  # the box is nowhere nearer than 0.4
    assert free.sum() > 10
    found = DeepFool().run(model, x, y, threat)
    torch.testing.assert_close(threat.distance(found.x, x)[free], 1.02 * (known[free] + 1e-4))
    assert (model(found.x).argmax(1) != y)[free].all()
    assert (found.gradients[free] == 4).all()  # a rival each, in a single step
    assert (found.forwards[free] == 6).all()  # and a look before and after it


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # foolbox imports scipy's old names
@pytest.mark.parametrize(("threat", "name"), FAR, ids=str)
def test_foolbox_finds_the_same_images(
    threat: Threat, name: str, trained_ann: SpikingNetwork, digits: Examples
) -> None:
    """In float64, for the images that it breaks; its candidates are ours and the label."""
    foolbox = pytest.importorskip("foolbox")
    model, x, y = copy.deepcopy(trained_ann).double(), digits[2][:40].double(), digits[3][:40]
    attack = getattr(foolbox.attacks, name)(steps=12, candidates=4)
    theirs, _, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
    ours = DeepFool(steps=12, classes=3)(model, x, y, threat)
    with torch.no_grad():
        broken = model(theirs).argmax(1) != y
    assert broken.sum() > 25
    torch.testing.assert_close(ours[broken], theirs[broken], rtol=0, atol=1e-7)
    assert torch.equal(ours[~broken], x[~broken])


def test_torchattacks_goes_no_less_far(trained: SpikingNetwork, digits: Examples) -> None:
    """Its overshoot is of each step, ours of their sum: the distances are alike, not equal."""
    torchattacks = pytest.importorskip("torchattacks")
    x, y, threat = digits[2][:20], digits[3][:20], L2(10.0)
    found = DeepFool()(trained, x, y, threat), torchattacks.DeepFool(trained)(x, y)
    ours, theirs = (distances(trained, images, x, y, threat) for images in found)
    assert ours.isfinite().all()
    assert ours.median() <= 1.05 * theirs.median()


def test_outside_the_threat_it_is_projected(trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:40], digits[3][:40]
    far = DeepFool()(trained_ann, x, y, L2(10.0))
    found = DeepFool()(trained_ann, x, y, L2(0.4))
    outside = L2(0.4).distance(far, x) > 0.4
    assert 10 < outside.sum() < 30
    assert torch.equal(found[~outside], far[~outside])
    assert torch.equal(found[outside], L2(0.4).project(far, x)[outside])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps"),
        ({"classes": 0}, "classes"),
        ({"eot": 0}, "eot"),
        ({"overshoot": -0.1}, "overshoot"),
        ({"overshoot": float("nan")}, "overshoot"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        DeepFool(**settings)

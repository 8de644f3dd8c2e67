"""Oracle: do torchattacks and foolbox, given the same steps, find the same images?

On the ReLU network and in float64: where a gradient is nearly 0 its sign would be left to rounding.
"""

import copy

import pytest
import torch
from torch import Tensor

from spikeproof.attacks import FGSM, L2, PGD, Linf
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
EPS, STEP, STEPS = 0.1, 0.03, 7
WALK = PGD(steps=STEPS, relative_step=STEP / EPS, start="clean", keep="last")


@pytest.fixture(scope="module")
def case(trained_ann: SpikingNetwork, digits: Examples) -> tuple[SpikingNetwork, Tensor, Tensor]:
    return copy.deepcopy(trained_ann).double(), digits[2][:40].double(), digits[3][:40]


def assert_same_images(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def test_torchattacks_fgsm(case: tuple[SpikingNetwork, Tensor, Tensor]) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    model, x, y = case
    assert_same_images(FGSM()(model, x, y, Linf(EPS)), torchattacks.FGSM(model, eps=EPS)(x, y))


def test_torchattacks_pgd(case: tuple[SpikingNetwork, Tensor, Tensor]) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    model, x, y = case
    theirs = torchattacks.PGD(model, eps=EPS, alpha=STEP, steps=STEPS, random_start=False)(x, y)
    assert_same_images(WALK(model, x, y, Linf(EPS)), theirs)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # foolbox imports scipy's old names
def test_foolbox_linf_pgd(case: tuple[SpikingNetwork, Tensor, Tensor]) -> None:
    foolbox = pytest.importorskip("foolbox")
    model, x, y = case
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
    theirs, _, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=EPS)
    assert_same_images(WALK(model, x, y, Linf(EPS)), theirs)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_foolbox_l2_fast_gradient(case: tuple[SpikingNetwork, Tensor, Tensor]) -> None:
    """One step, inside the box: foolbox projects on the ball and then clips, which is no projection on both."""
    foolbox = pytest.importorskip("foolbox")
    model, x, y = case
    x = x.clamp(0.2, 0.8)
    attack = foolbox.attacks.L2FastGradientAttack(random_start=False)
    theirs, _, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=0.2)
    assert_same_images(FGSM()(model, x, y, L2(0.2)), theirs)

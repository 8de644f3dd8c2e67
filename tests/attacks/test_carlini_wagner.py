"""Carlini and Wagner: the distance to a known boundary, and against foolbox."""

import copy
from dataclasses import replace

import pytest
import torch
from outcomes import distances
from torch import Tensor, nn

from spikeproof.attacks.carlini_wagner import CarliniWagner
from spikeproof.attacks.threats import L2, Linf
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
QUICK = CarliniWagner(steps=30, searches=4, learning_rate=0.1, initial_weight=0.5)
FAR = L2(10.0)


def test_the_distance_to_the_boundary_of_a_linear_model() -> None:
    """Of two classes: with more, the margin leads to the likeliest rival, which need not be the nearest."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    x = 0.4 + 0.2 * torch.rand(20, 3, 2, 2, dtype=torch.float64)
    logits, weight = model(x).detach(), model[1].weight.detach()
    known = (logits[:, 0] - logits[:, 1]).abs() / (weight[0] - weight[1]).norm()
    y = logits.argmax(1)
    attack = CarliniWagner(steps=100, searches=8, learning_rate=0.02, initial_weight=0.1)
    found = distances(model, attack(model, x, y, FAR), x, y, FAR)
    assert (found >= known * (1 - 1e-9)).all()
    assert (found <= 1.02 * known + 1e-3).all()


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # foolbox imports scipy's old names
def test_foolbox_finds_the_same_distances(trained_ann: SpikingNetwork, digits: Examples) -> None:
    foolbox = pytest.importorskip("foolbox")
    model, x, y = copy.deepcopy(trained_ann).double(), digits[2][:40].double(), digits[3][:40]
    peer = foolbox.attacks.L2CarliniWagnerAttack(
        steps=30, binary_search_steps=4, stepsize=0.1, initial_const=0.5, abort_early=False
    )
    images, _, _ = peer(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
    theirs = distances(model, images, x, y, FAR)
    with torch.no_grad():
        right = model(x).argmax(1) == y
    found = QUICK(model, x, y, FAR)
    ours = distances(model, found, x, y, FAR)
    assert torch.isclose(ours, theirs, rtol=1e-3)[right].float().mean() >= 0.95
    assert ours.median().item() == pytest.approx(theirs.median().item(), rel=1e-3)
    assert torch.equal(found[~right], x[~right])


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_on_a_spiking_network_it_finds_no_farther_ones_than_foolbox(trained: SpikingNetwork, digits: Examples) -> None:
    foolbox = pytest.importorskip("foolbox")
    x, y = digits[2][:30], digits[3][:30]
    peer = foolbox.attacks.L2CarliniWagnerAttack(
        steps=20, binary_search_steps=4, stepsize=0.1, initial_const=0.5, abort_early=False
    )
    images, _, _ = peer(foolbox.PyTorchModel(trained, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
    images = torch.where((images == 0).flatten(1).all(1).view(-1, 1, 1, 1), x, images)  # black: it found none
    ours = distances(trained, replace(QUICK, steps=20)(trained, x, y, FAR), x, y, FAR)
    theirs = distances(trained, images, x, y, FAR)
    assert ours.isfinite().sum() >= max(25, int(theirs.isfinite().sum()) - 1)
    assert ours.median() <= 1.1 * theirs.median()


def test_confidence_is_a_margin_of_the_logits(trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:30], digits[3][:30]
    attack = CarliniWagner(steps=40, searches=4, learning_rate=0.1, initial_weight=0.5, confidence=1.0)
    with torch.no_grad():
        right = trained_ann(x).argmax(1) == y
        found = attack(trained_ann, x, y, FAR)
        logits = trained_ann(found)
    moved = right & (found != x).flatten(1).any(1)
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    assert moved.sum() > 20
    assert (logits.amax(1) - own)[moved].min() >= 1.0 - 1e-4


def test_in_another_norm_the_nearest_one_there_counts(trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:30], digits[3][:30]
    wide = Linf(1.0)
    flat, round_ = QUICK(trained_ann, x, y, wide), QUICK(trained_ann, x, y, FAR)
    in_linf = [distances(trained_ann, found, x, y, wide) for found in (flat, round_)]
    assert (in_linf[0] <= in_linf[1]).all()
    assert (in_linf[0] < in_linf[1]).any()


def test_stopped_images_cost_no_more(trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y, threat = digits[2][:40], digits[3][:40], L2(0.6)
    whole = QUICK.run(trained_ann, x, y, threat)
    early = QUICK.run(trained_ann, x, y, threat, stop=True)
    with torch.no_grad():
        right = trained_ann(x).argmax(1) == y
    assert (whole.gradients[right] == 120).all()
    assert (whole.gradients[~right] == 0).all()
    done = early.gradients < 120
    assert distances(trained_ann, early.x, x, y, threat)[done].le(0.6).all()
    assert 10 < done.sum() < 40


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps"),
        ({"searches": 0}, "searches"),
        ({"eot": 0}, "eot"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"initial_weight": float("nan")}, "initial_weight"),
        ({"confidence": -1.0}, "confidence"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        CarliniWagner(**settings)

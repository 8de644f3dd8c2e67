"""FAB: the distance to a known boundary, and against pyautoattack."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from outcomes import distances
from torch import Tensor

from spikeproof.attacks.fab import FAB
from spikeproof.attacks.threats import L1, L2, Linf, Threat
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
EVERYTHING = {"Linf": Linf(1.0), "L2": L2(10.0), "L1": L1(64.0)}  # whatever is found lies inside


@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1), ("L2", 2), ("L1", torch.inf)])
def test_the_distance_to_the_boundaries_of_a_linear_model(
    norm: str, dual: float, linear: Callable[[float], Any]
) -> None:
    """min over rivals of |f| / |w| in the dual norm; pixels in the middle of the box have room."""
    model, x, y, known = linear(dual)
    threat = EVERYTHING[norm]
    found = distances(model, FAB(steps=20)(model, x, y, threat), x, y, threat)
    near = known < 0.3  # in L1 a single pixel has to have the room
    assert near.sum() > 8
    assert (found >= known * (1 - 1e-9)).all()
    assert (found[near] <= 1.01 * known[near]).all()


@pytest.mark.parametrize("norm", EVERYTHING)
@pytest.mark.parametrize("network", ["trained", "trained_ann"])
def test_pyautoattack_finds_the_same_distances(
    norm: str, network: str, digits: Examples, request: pytest.FixtureRequest
) -> None:
    """Image by image, but for a few that rounding leads elsewhere."""
    fab_pt = pytest.importorskip("pyautoattack.fab_pt")
    model, x, y = request.getfixturevalue(network), digits[2][:40], digits[3][:40]
    threat = EVERYTHING[norm]
    ours = distances(model, FAB(steps=8, classes=2)(model, x, y, threat), x, y, threat)
    peer = fab_pt.FABAttack_PT(model, norm=norm, n_iter=8, targeted=True, device="cpu")
    theirs = torch.full_like(ours, torch.inf)
    for peer.target_class in (2, 3):
        found = peer.attack_single_run(x, y, is_targeted=True)
        theirs = theirs.minimum(distances(model, found, x, y, threat))
    same = torch.isclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert same.float().mean() >= 0.95
    assert ours.isfinite().sum() > 30
    assert ours.median().item() == pytest.approx(theirs.median().item(), rel=0.01)


@pytest.mark.parametrize(("threat", "broken"), [(Linf(0.06), 8), (L2(0.5), 15)], ids=str)
def test_it_breaks_no_fewer_than_pyautoattack(
    threat: Threat, broken: int, trained_ann: SpikingNetwork, digits: Examples
) -> None:
    fab_pt = pytest.importorskip("pyautoattack.fab_pt")
    x, y = digits[2][:60], digits[3][:60]
    peer = fab_pt.FABAttack_PT(
        trained_ann, norm=threat.norm, n_iter=15, eps=threat.eps, targeted=True, device="cpu", n_target_classes=4
    )
    found = [FAB(steps=15, classes=4)(trained_ann, x, y, threat), peer.perturb(x, y)]
    ours, theirs = (int(distances(trained_ann, images, x, y, threat).isfinite().sum()) for images in found)
    assert ours >= theirs - 1
    assert theirs > broken


def test_what_is_wrong_already_stays_and_what_is_broken_is_the_nearest(
    trained_ann: SpikingNetwork, digits: Examples
) -> None:
    x, y = digits[2][:40], digits[3][:40].clone()
    y[:5] = (y[:5] + 1) % 10
    everything = FAB(steps=10, classes=2)(trained_ann, x, y, L2(10.0))
    assert torch.equal(everything[:5], x[:5])
    near, far = everything, distances(trained_ann, everything, x, y, L2(10.0))
    inside = FAB(steps=10, classes=2)(trained_ann, x, y, L2(0.4))
    reached = far <= 0.4
    assert 10 < reached.sum() < 40
    assert torch.equal(inside[reached], near[reached])
    torch.testing.assert_close(L2(0.4).distance(inside, x)[~reached], torch.full((int((~reached).sum()),), 0.4))


def test_stopped_images_cost_no_more(trained: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:40], digits[3][:40]
    attack = FAB(steps=6, classes=4)
    whole = attack.run(trained, x, y, Linf(0.1))
    early = attack.run(trained, x, y, Linf(0.1), stop=True)
    with torch.no_grad():
        right = trained(x).argmax(1) == y
    assert (whole.gradients[right] == 24).all()  # steps and classes
    assert (whole.forwards[right] == 49).all()  # a look at the image, and two passes a step
    assert (whole.gradients[~right] == 0).all()
    assert early.gradients.sum() < 0.8 * whole.gradients.sum()
    near = Linf(0.1).distance(whole.x, x) < 0.0999
    assert (early.gradients[near & right] < 24).all()
    assert (early.gradients[near & right] > 0).all()


def test_restarts_begin_elsewhere_and_find_nearer_ones(trained: SpikingNetwork, digits: Examples) -> None:
    x, y, threat = digits[2][:30], digits[3][:30], EVERYTHING["L2"]
    once, thrice = (
        distances(trained, FAB(steps=5, classes=1, restarts=restarts)(trained, x, y, threat), x, y, threat)
        for restarts in (1, 3)
    )
    assert (thrice <= once).all()
    assert (thrice < once).sum() > 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps"),
        ({"classes": 0}, "classes"),
        ({"restarts": 0}, "restarts"),
        ({"eot": 0}, "eot"),
        ({"alpha_max": 1.5}, "alpha_max"),
        ({"eta": 0.9}, "eta"),
        ({"beta": 1.0}, "beta"),
        ({"beta": float("nan")}, "beta"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        FAB(**settings)

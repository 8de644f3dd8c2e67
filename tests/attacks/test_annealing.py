"""Does annealing find images that no gradient shows, walk only where it pays, and count what it spends?"""

from dataclasses import replace

import pytest
import torch
from outcomes import broken
from torch import Tensor, nn

from spikeproof.attacks import PGD, SAPGD, Along, Annealing, Attack, Linf, Margin, TargetedMargin, Threat
from spikeproof.attacks.annealing import Change
from spikeproof.choices import UserError
from spikeproof.evaluation import suite_named
from spikeproof.randomness import Streams
from spikeproof.snn import ATan, SpikingNetwork, attack_view

SHORT = Annealing(climb=SAPGD(steps=10, loss=TargetedMargin()), climbs=4, chains=6, rounds=8, proposals=4, near=1.0)
Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def breaks(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    return broken(model, attack(model, x, y, threat), y)


class Stairs(nn.Module):
    """Class 1 wins where the image, rounded to tenths, adds up to enough; the gradient of that is nought everywhere."""

    def __init__(self, enough: float) -> None:
        super().__init__()
        self.enough = enough

    def forward(self, x: Tensor) -> Tensor:
        score = ((10 * x).round() / 10).flatten(1).sum(1) - self.enough
        return torch.stack([torch.zeros_like(score), score], 1)


def test_it_climbs_stairs_that_have_no_gradient() -> None:
    x, y = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.int64)
    model, threat = Stairs(enough=16 * 0.5 + 1.35), Linf(0.11)  # 14 of 16 pixels have to go up by a tenth
    assert not breaks(PGD(steps=20, loss=Margin(), start="clean"), model, x, y, threat).any()
    attack = Annealing(climb=PGD(steps=1, start="clean", loss=TargetedMargin()), rounds=60, near=1.0)
    assert breaks(attack, model, x, y, threat).all()
    assert not breaks(attack, model, x, y, Linf(0.04)).any()  # no pixel reaches the next stair


def test_it_finds_more_than_its_climbs(trained: SpikingNetwork, digits: Examples) -> None:
    x, y, threat = digits[2][:60], digits[3][:60], Linf(0.07)
    model = attack_view(trained)
    walking = Along(attack=SHORT, paths=(ATan(alpha=8.0),))
    standing = Along(attack=replace(SHORT, near=0.0), paths=(ATan(alpha=8.0),))
    found, climbed = (breaks(attack, model, x, y, threat) for attack in (walking, standing))
    assert (found | ~climbed).all()  # the climbs are the same
    assert found.sum() > climbed.sum()


def test_what_is_spent() -> None:
    """Looked at itself; four climbs of ten steps, each end looked at twice; then eight rounds of six chains."""
    torch.manual_seed(1)
    x, model = torch.rand(2, 1, 3, 3), nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    y, still = model(x).argmax(1), replace(SHORT, near=0.0)
    standing, walking = (attack.run(model, x, y, Linf(1e-6)) for attack in (still, SHORT))
    assert standing.gradients.tolist() == [40, 40]
    assert standing.forwards.tolist() == [1 + 40 + 4 + 4] * 2
    assert walking.gradients.tolist() == [40 + 8 * 6] * 2
    assert walking.forwards.tolist() == [1 + 40 + 4 + 4 + 8 * 6 * (1 + 4) + 1] * 2


def test_what_is_broken_already_costs_a_look() -> None:
    x, model = torch.rand(3, 1, 3, 3), nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    wrong = (model(x).argmax(1) + 1) % 3
    found = SHORT.run(model, x, wrong, Linf(0.1), stop=True)
    assert found.gradients.tolist() == [0, 0, 0]
    assert found.forwards.tolist() == [1, 1, 1]


def test_who_is_far_from_another_class_is_left_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([torch.ones(4), torch.zeros(4)]))
    x, y = torch.stack([torch.full((1, 2, 2), value) for value in (0.5, 0.125)]), torch.zeros(2, dtype=torch.int64)
    found = Annealing(climbs=1, chains=2, rounds=3, near=0.3).run(model, x, y, Linf(0.1))
    assert (found.gradients > 60).tolist() == [False, True]  # 0.4 and 0.1 are left of 0.5 to go, 0.1 of 0.5 is near


@pytest.mark.parametrize("kind", ["_pixels", "_block", "_crossed", "_uphill"])
def test_each_kind_of_change_changes_something_and_keeps_the_rest(kind: str) -> None:
    x = torch.rand(40, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    streams = Streams.of(0, torch.arange(40))
    z = x + 0.05 * streams.signs(2, 6, 6, like=x)
    change = Change(x, Linf(0.1), torch.ones_like(x), streams, 5)
    made = getattr(change, kind)(z)
    moved = (made != z).flatten(1).float().mean(1)
    assert moved.mean() > 0.01
    assert moved.mean() < 0.6
    if kind == "_pixels":
        assert moved.max() < 0.4
    if kind == "_crossed":
        chains = z.view(8, 5, -1)
        assert (made.view(8, 5, 1, -1) == chains.unsqueeze(1)).any(2).all()  # every pixel is some chain's of that image
    assert change.of(z).sub(x).abs().amax() <= 0.1 + 1e-6


def test_the_suite_is_standard_but_for_its_last_attack() -> None:
    standard, annealed = (suite_named(name).attacks for name in ("standard", "annealed"))
    assert annealed[:-1] == standard[:-1]
    assert annealed[-1] in suite_named("exhaustive").attacks
    assert isinstance(annealed[-1], Along)
    assert annealed[-1].attack == Annealing()


def test_a_climb_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(UserError, match="Annealing leads an attack to a class, which CrossEntropy cannot"):
        Annealing(climb=SAPGD())

"""Does SpikeFool find the fewest flips that break a linear network, and go from boundary to boundary elsewhere?"""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import EventEdits, EventFlips, SpikeFool, UniformNoise
from spikeproof.attacks.events.spike_fool import beyond
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork
from tests.attacks.outcomes import broken

Bars = tuple[Tensor, Tensor]
SHAPE = (4, 1, 3, 2)


class Linear(nn.Module):
    """As many classes as there are weights, by sum of weight * frames - bias."""

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weights, self.bias = weights, bias

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weights.flatten(1).T - self.bias


def two_classes() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear network, recordings, their labels and the fewest flips that break each; 25 where none do."""
    torch.manual_seed(2)
    x, weight = (torch.rand(30, *SHAPE) < 0.4).float(), torch.randn(SHAPE)
    model, y = Linear(torch.stack([0 * weight, weight]), torch.tensor([0.0, 2.0])), torch.zeros(30, dtype=torch.long)
    gain = torch.where(x == 0, weight, -weight).clamp(min=0).flatten(1).sort(1, descending=True).values
    margin = 2 - (x * weight).flatten(1).sum(1)
    return model, x, y, torch.where(margin > 0, (gain.cumsum(1) <= margin.unsqueeze(1)).sum(1) + 1, 0)


def test_the_fewest_flips_that_break_a_linear_network() -> None:
    model, x, y, fewest = two_classes()
    assert fewest.unique().numel() > 3
    assert fewest.max() < 25
    outcome = SpikeFool(overreach=1.0, least=0.0).run(model, x, y, EventFlips(24))
    assert broken(model, outcome.x, y).all()
    assert torch.equal(EventFlips(24).distance(outcome.x, x), fewest.float())
    # of each recording that is right: a first look; one step of DeepFool, whether it is over, the normal, the flips
    assert torch.equal(outcome.gradients, torch.where(fewest > 0, 2, 0))
    assert torch.equal(outcome.forwards, torch.where(fewest > 0, 5, 1))


@pytest.mark.parametrize("overreach", [1.0, 2.0])
def test_a_budget_holds_the_best_flips(overreach: float) -> None:
    model, x, y, fewest = two_classes()
    for budget in (1, 3):
        found = SpikeFool(overreach=overreach)(model, x, y, EventFlips(budget))
        assert EventFlips(budget).contains(found, x).all()
        assert torch.equal(broken(model, found, y), fewest <= budget)


def test_the_nearest_of_several_classes() -> None:
    weights = torch.zeros(4, *SHAPE)
    weights[1, 0, 0, 0, 0], weights[2, 1] = 3.0, 0.5  # the second asks for one cell, the third for six, as far in L2
    model, x = Linear(weights, torch.tensor([0.0, 2.5, 2.6, 9.0])), torch.zeros(1, *SHAPE)
    y = torch.zeros(1, dtype=torch.long)
    found = SpikeFool(overreach=1.0)(model, x, y, EventFlips(6))
    assert model(found).argmax(1) == 1
    assert found.sum() == 1
    third = SpikeFool(overreach=1.0, classes=1)(
        Linear(weights, torch.tensor([0.0, 2.9, 2.6, 9.0])), x, y, EventFlips(6)
    )
    assert third.sum() == 6  # the class that is likeliest at first


def test_edits_of_counts() -> None:
    weight = torch.tensor([0.1, -0.5, 1.0, -2.0]).view(1, 2, 1, 1, 2)
    model = Linear(torch.cat([0 * weight, weight]), torch.tensor([0.0, -0.1]))
    x = torch.tensor([[3.0, 2.0, 0.0, 1.0]]).view(1, 2, 1, 1, 2)  # 2.7 short, less 0.1
    found = SpikeFool(overreach=1.0, least=0.0)(model, x, torch.zeros(1, dtype=torch.long), EventEdits(4))
    assert found.flatten().tolist() == [3, 2, 1, 0]


def test_steps_beyond_a_plane() -> None:
    z = torch.tensor([[0.0, 1.0, 0.0, 1.0]]).view(1, 1, 1, 2, 2)
    normal = torch.tensor([[0.5, 0.9, -0.8, -0.1]]).view_as(z)  # the second may not rise, nor the third fall
    for gap, after in (
        (0.2, [1, 1, 0, 1]),
        (0.5, [1, 1, 0, 1]),
        (0.55, [1, 1, 0, 0]),
        (9.0, [1, 1, 0, 0]),
        (0.0, [1, 1, 0, 1]),
    ):
        assert beyond(z, z, normal, torch.tensor([gap]), EventFlips(4)).flatten().tolist() == after
    assert torch.equal(beyond(z, z, 0 * normal, torch.tensor([1.0]), EventFlips(4)), z)


def test_a_network_without_a_gradient_is_left_soon() -> None:
    class Blind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(x), 3) + 0 * x.flatten(1)[:, :3]

    x = torch.zeros(2, *SHAPE)
    outcome = SpikeFool(steps=50, inner=3).run(Blind(), x, torch.zeros(2, dtype=torch.long), EventFlips(5))
    assert torch.equal(outcome.x, x)
    assert outcome.gradients.tolist() == [3 * 2 + 1] * 2


def test_more_recordings_than_by_noise(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    found = SpikeFool(steps=6).run(bar_network, x, y, EventFlips(12))
    wrong = broken(bar_network, found.x, y)
    assert wrong.sum() > broken(bar_network, UniformNoise(draws=20)(bar_network, x, y, EventFlips(12)), y).sum() + 5
    assert (found.gradients <= 6 * (10 * 3 + 1)).all()
    assert (EventFlips(12).distance(found.x, x)[wrong] >= 1).all()


def test_what_is_refused() -> None:
    for make, said in (
        (lambda: SpikeFool(overreach=0.5), "overreach"),
        (lambda: SpikeFool(overshoot=-1.0), "overshoot"),
        (lambda: SpikeFool(least=float("nan")), "least"),
        (lambda: SpikeFool(inner=0), "inner"),
    ):
        with pytest.raises(UserError, match=said):
            make()

"""Does SCG draw its steps as published, stay within its budget, and find the best changes of linear networks?"""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import SCG, EventEdits, EventFlips, Linf, UniformNoise
from spikeproof.attacks.events.scg import any_way, normalised, on_cells
from spikeproof.choices import UserError
from spikeproof.randomness import Streams
from spikeproof.snn import SpikingNetwork
from tests.attacks.outcomes import broken

Bars = tuple[Tensor, Tensor]
SHAPE = (4, 1, 3, 2)


class Linear(nn.Module):
    """Two classes, the second by sum of weight * frames - bias; what it is asked about is kept."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        value = (x * self.weight).flatten(1).sum(1) - self.bias
        return torch.stack([torch.zeros_like(value), value], 1)


def best_gain(weight: Tensor, threat: EventFlips, x: Tensor) -> Tensor:
    """By how much the allowed changes raise the value of the second class at most."""
    up, down = threat.steps(x, x)
    gain = torch.where(up, weight, 0).maximum(torch.where(down, -weight, 0)).clamp(min=0)
    return gain.flatten(1).topk(threat.budget, dim=1).values.sum(1)


@pytest.mark.parametrize("only", [None, "insert", "delete"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_best_flips_of_a_linear_network(only: str | None, momentum: float) -> None:
    torch.manual_seed(0)
    x = (torch.rand(20, *SHAPE) < 0.4).float()
    weight, threat = torch.randn(SHAPE), EventFlips(5, only=only)
    weight = weight + 0.3 * weight.sign()
    weight[0, 0, 0] = 0  # else the least gradient is never drawn
    model = Linear(weight)
    found = SCG(steps=60, momentum=momentum)(model, x, torch.zeros(20, dtype=torch.long), threat)
    assert threat.contains(found, x).all()
    reached = ((found - x) * weight).flatten(1).sum(1)
    torch.testing.assert_close(reached, best_gain(weight, threat, x))


def test_the_best_edits_of_a_linear_network() -> None:
    """Cells of counts take an event a step: all of the budget goes into the one that gains most."""
    weight = torch.tensor([0.1, -0.5, 1.0, -2.0]).view(2, 1, 1, 2)
    x = torch.tensor([[3.0, 2.0, 0.0, 1.0]]).view(1, 2, 1, 1, 2)
    found = SCG(steps=40)(Linear(weight), x, torch.zeros(1, dtype=torch.long), EventEdits(4))
    assert found.flatten().tolist() == [3, 2, 3, 0]


def test_a_cell_is_drawn_with_the_published_probability() -> None:
    weight = torch.tensor([0.2, 0.5, 0.8]).repeat_interleave(4000).view(1, 1, 100, 120)
    model, x = Linear(weight), torch.zeros(1, 1, 1, 100, 120)
    SCG(steps=1, momentum=0.0)(model, x, torch.zeros(1, dtype=torch.long), EventFlips(12000))
    drawn = model.seen[1].view(3, 4000).mean(1)
    assert drawn[0] == 0
    assert drawn[1].item() == pytest.approx(0.5, abs=0.04)
    assert drawn[2] == 1


def test_the_sign_says_which_way_and_only_legal_steps_are_made() -> None:
    weight = torch.tensor([1.0, 1.0, -1.0, -1.0, 0.1, 0.1]).view(1, 1, 2, 3)
    x = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]).view(1, 1, 1, 2, 3)
    model = Linear(weight)
    SCG(steps=1, momentum=0.0)(model, x, torch.zeros(1, dtype=torch.long), EventFlips(6))
    assert model.seen[1].flatten().tolist() == [1, 1, 0, 0, 0, 1]


class Blind(nn.Module):
    """A network whose answer has no gradient: 17 events in the first frame or more are the second class."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        many = (x[:, 0].flatten(1).sum(1) >= 17).float() * 2 - 1 + 0 * x.flatten(1).sum(1)
        return torch.stack([torch.zeros_like(many), many], 1)


def test_without_a_gradient_a_share_of_the_cells_is_flipped() -> None:
    model, x = Blind(), (torch.rand(2, 5, 2, 40, 40) < 0.0001).float()
    SCG(steps=1, turnover=0.05)(model, x, torch.zeros(2, dtype=torch.long), EventFlips(16000))
    share = (model.seen[1] != x).float().mean().item()
    assert share == pytest.approx(0.05, abs=0.01)


def test_without_a_gradient_it_goes_on_and_stays_within_the_budget() -> None:
    model, x = Blind(), torch.zeros(6, 2, 1, 8, 8)
    threat = EventFlips(30)
    found = SCG(steps=40, turnover=0.3)(model, x, torch.zeros(6, dtype=torch.long), threat)
    assert threat.contains(found, x).all()
    assert broken(model, found, torch.zeros(6, dtype=torch.long)).all()
    assert threat.distance(model.seen[5], x).max() == 30  # it is spent in the end, and other cells are tried


def test_more_recordings_than_by_noise_and_in_more_steps(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    noise, one, many = (
        broken(bar_network, attack(bar_network, x, y, EventFlips(12)), y).sum()
        for attack in (UniformNoise(draws=20), SCG(steps=1), SCG())
    )
    assert noise < many
    assert one < many
    assert many >= 8


def test_a_broken_recording_costs_no_more(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    outcome = SCG(steps=10, restarts=2).run(bar_network, x, y, EventFlips(20), stop=True)
    wrong = broken(bar_network, outcome.x, y)
    assert wrong.any()
    assert not wrong.all()
    assert (outcome.gradients[~wrong] == 20).all()
    assert (outcome.forwards[~wrong] == 22).all()
    assert (outcome.forwards[wrong] < 22).all()
    whole = SCG(steps=10, restarts=2, eot=3).run(bar_network, x, y, EventFlips(20))
    assert (whole.gradients == 60).all()
    assert (whole.forwards == 66).all()


def test_the_changes_of_most_worth_are_kept() -> None:
    x = torch.tensor([[0.0, 1.0, 0.0, 1.0]]).view(1, 2, 1, 1, 2)
    change = torch.tensor([[1.0, -1.0, 1.0, 0.0]]).view_as(x)
    worth = torch.tensor([[-3.0, 2.0, 0.5, 9.0]]).view_as(x)
    for budget, kept in ((0, [0, 1, 0, 1]), (1, [0, 0, 0, 1]), (2, [0, 0, 1, 1]), (3, [1, 0, 1, 1]), (9, [1, 0, 1, 1])):
        assert EventFlips(budget).of_most_worth(x + change, worth, x).flatten().tolist() == kept
    assert EventFlips(2).of_most_worth(x + change, 0 * worth, x).sub(x).abs().sum() == 2


def test_steps_of_any_way() -> None:
    up, down = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    assert any_way(up.expand(2, 3), down.expand(2, 3), Streams(torch.tensor([3, 4]))).tolist() == [[1, -1, 0]] * 2
    both = torch.ones(2, 1000, dtype=torch.bool)
    ways = any_way(both, both, Streams(torch.tensor([3, 4])))
    assert not torch.equal(*ways)  # each recording by its own lot
    assert (ways.abs() == 1).all()
    assert abs(ways.mean().item()) < 0.15


def test_normalised_gradients() -> None:
    slope = torch.tensor([[1.0, -3.0], [0.0, 0.0]])
    assert normalised(slope).tolist() == [[0.5, -1.5], [0, 0]]


def test_what_is_refused() -> None:
    for make, said in (
        (lambda: SCG(momentum=-1.0), "momentum"),
        (lambda: SCG(momentum=float("nan")), "momentum"),
        (lambda: SCG(turnover=0.0), "turnover"),
        (lambda: SCG(turnover=1.5), "turnover"),
        (lambda: on_cells(Linf()), "EventFlips and EventEdits"),
    ):
        with pytest.raises(UserError, match=said):
            make()

"""Does SDA try out what it should, keep what really helps, count each pass, and take back what is needless?"""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import SCG, SDA, EventEdits, EventFlips, UniformNoise
from spikeproof.attacks.events.sda import Ranked, exchanged, likeliest
from spikeproof.randomness import Streams
from spikeproof.snn import SpikingNetwork
from tests.attacks.outcomes import broken

Bars = tuple[Tensor, Tensor]
SHAPE = (4, 1, 3, 2)
LOTS = Streams(torch.tensor([7]))


class Misleading(nn.Module):
    """Two classes, the second by sum of weight * frames - bias, with the gradient of other weights."""

    def __init__(self, weight: Tensor, bias: float = 0.0, gradient: Tensor | None = None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.gradient = weight if gradient is None else gradient

    def forward(self, x: Tensor) -> Tensor:
        soft = x * self.gradient
        value = ((x * self.weight).detach() + soft - soft.detach()).flatten(1).sum(1) - self.bias
        return torch.stack([torch.zeros_like(value), value], 1)


def zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.long)


@pytest.mark.parametrize("only", [None, "insert", "delete"])
def test_the_best_flips_of_a_linear_network(only: str | None) -> None:
    torch.manual_seed(0)
    x, weight = (torch.rand(20, *SHAPE) < 0.4).float(), torch.randn(SHAPE)
    threat = EventFlips(5, only=only)
    up, down = threat.steps(x, x)
    gain = torch.where(up, weight, 0).maximum(torch.where(down, -weight, 0)).clamp(min=0).flatten(1)
    found = SDA(first=8)(Misleading(weight, bias=100.0), x, zeros(20), threat)
    torch.testing.assert_close(((found - x) * weight).flatten(1).sum(1), gain.topk(5, dim=1).values.sum(1))


def test_the_fewest_flips_that_break_a_linear_network() -> None:
    torch.manual_seed(1)
    x, weight = (torch.rand(30, *SHAPE) < 0.4).float(), torch.randn(SHAPE)
    model = Misleading(weight, bias=3.0)
    gain = torch.where(x == 0, weight, -weight).clamp(min=0).flatten(1).sort(1, descending=True).values
    margin = 3 - (x * weight).flatten(1).sum(1)
    fewest = torch.where(margin > 0, (gain.cumsum(1) <= margin.unsqueeze(1)).sum(1) + 1, 0)
    assert fewest.unique().numel() > 3
    threat = EventFlips(24)
    for attack in (SDA(first=24), SDA(first=24, waves=1), SDA(first=3)):
        found = attack(model, x, zeros(30), threat)
        breakable = fewest <= 24
        assert torch.equal(broken(model, found, zeros(30)), breakable)
        assert torch.equal(threat.distance(found, x)[breakable], fewest[breakable].float())
    few = SDA(first=24)(model, x, zeros(30), EventFlips(3))
    assert torch.equal(broken(model, few, zeros(30)), fewest <= 3)


def test_edits_of_counts() -> None:
    weight = torch.tensor([0.1, -0.5, 1.0, -2.0]).view(2, 1, 1, 2)
    x = torch.tensor([[3.0, 2.0, 0.0, 0.0]]).view(1, 2, 1, 1, 2)
    found = SDA()(Misleading(weight, bias=9.0), x, zeros(1), EventEdits(2))
    assert found.flatten().tolist() == [3, 1, 1, 0]  # each cell once


def test_it_sees_what_the_gradient_does_not() -> None:
    """As behind a filter: cells of the largest gradients have no effect."""
    weight = torch.tensor([0.0] * 20 + [1.0] * 4).view(SHAPE)
    gradient = torch.tensor([2.0] * 20 + [1.0] * 4).view(SHAPE)
    model, x, threat = Misleading(weight, 3.5, gradient), torch.zeros(4, *SHAPE), EventFlips(4)
    assert broken(model, SDA()(model, x, zeros(4), threat), zeros(4)).all()
    assert not broken(model, SCG(steps=50)(model, x, zeros(4), threat), zeros(4)).any()


def test_without_a_gradient_cells_are_tried_by_lot() -> None:
    model = Misleading(torch.arange(24.0).view(SHAPE), 60.0, torch.zeros(SHAPE))
    x, threat = torch.zeros(5, *SHAPE), EventFlips(3)
    assert broken(model, SDA(first=24)(model, x, zeros(5), threat), zeros(5)).all()  # 21 + 22 + 23 are enough


def test_a_spent_budget_is_exchanged_for_better_changes() -> None:
    """Round n tries the n largest gradients, and the largest effect has the least one."""
    weight, gradient = torch.arange(1.0, 7).view(1, 1, 2, 3), torch.arange(6.0, 0, -1).view(1, 1, 2, 3)
    x = torch.zeros(1, 1, 1, 2, 3)
    for steps, best in ((1, 1), (2, 3), (3, 4)):  # those in use are not tried again
        found = SDA(steps=steps, first=1, waves=1)(Misleading(weight, 9.0, gradient), x, zeros(1), EventFlips(1))
        assert (found * weight).sum() == best


def test_changes_that_lower_the_loss_are_not_made() -> None:
    weight = torch.tensor([-1.0, 2.0, -3.0, 0.0]).view(1, 1, 2, 2)
    model, x = Misleading(weight, 9.0, torch.ones(1, 1, 2, 2)), torch.zeros(1, 1, 1, 2, 2)
    found = SDA()(model, x, zeros(1), EventFlips(4))
    assert found.flatten()[:3].tolist() == [0, 1, 0]


def test_every_pass_is_counted() -> None:
    model, x = Misleading(torch.ones(SHAPE), 99.0), torch.zeros(3, *SHAPE)
    outcome = SDA(steps=2, first=3, waves=2).run(model, x, zeros(3), EventFlips(4))
    # of each round: a gradient, 3 and 6 changes, and two and one of these together; 2 are no more than the room left
    assert outcome.gradients.tolist() == [2] * 3
    assert outcome.forwards.tolist() == [2 + 3 + 2 + 6 + 2] * 3
    longer = SDA(steps=3, first=3, waves=2, eot=2).run(model, x, zeros(3), EventFlips(4))
    assert longer.gradients.tolist() == [6] * 3
    assert longer.forwards.tolist() == [2 * (15 + 1 + 9 + 4 + 2)] * 3  # and 4 changes taken back
    easy = SDA(steps=2, first=8, waves=1).run(Misleading(torch.ones(SHAPE), 3.5), x, zeros(3), EventFlips(8))
    assert easy.forwards.tolist() == [1 + 8 + 4 + 3] * 3  # 8, 4, 2, 1 changes at once; without 4, 6, 5 of 8


def test_more_recordings_than_by_noise(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    found = broken(bar_network, SDA(steps=6)(bar_network, x, y, EventFlips(12)), y).sum()
    assert found > broken(bar_network, UniformNoise(draws=20)(bar_network, x, y, EventFlips(12)), y).sum() + 3


def test_the_likeliest_flips() -> None:
    uphill = torch.tensor([0.5, -2.0, 1.0, -0.1, 3.0]).view(1, 5, 1, 1, 1)
    z = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0]).view_as(uphill)
    x = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]).view_as(uphill)  # the last has changed
    place, step = likeliest(uphill, z, x, EventFlips(9), 2, LOTS)
    assert place[0, :, 0].tolist() == [0, 3]
    assert step.tolist() == [[[1, 0], [-1, 0]]]
    place, step = likeliest(uphill, z, x, EventFlips(9), 9, LOTS)
    assert place[0, :, 0].tolist() in ([0, 3, 1, 2], [0, 3, 2, 1])  # against the gradient, after all others, by lot
    way = dict(zip(place[0, :, 0].tolist(), step[0, :, 0].tolist(), strict=True))
    assert way == {0: 1, 3: -1, 1: 1, 2: -1}


def test_the_likeliest_moves() -> None:
    """Of pixels with events in frame 1 alone: the second gains by leaving a gradient that asks for more there, too."""
    uphill = torch.tensor([[[3.0, 2.5, -4.0]], [[-1.0, 0.5, 1.0]], [[0.0, 0.0, 2.0]]]).view(1, 3, 1, 1, 3)
    x = torch.zeros(1, 3, 1, 1, 3)
    x[0, 1] = 1
    place, step = likeliest(uphill, x, x, EventEdits(9, add=0, remove=0, most=1), 9, LOTS)
    assert place[0, :3].tolist() == [[0, 3], [1, 4], [8, 5]]
    assert step[0, :3].tolist() == [[1, -1]] * 3
    free, step = likeliest(uphill, x, x, EventEdits(9, most=1), 3, LOTS)
    assert free[0].tolist() == [[0, 3], [1, 1], [8, 8]]  # alone the second does no harm in frame 1, nor the third
    assert step[0].tolist() == [[1, -1], [1, 0], [1, 0]]


def test_exchanges_by_hand() -> None:
    z = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]])
    twice = lambda cells, ways: (torch.tensor(cells)[None, :, None].expand(1, 3, 2), torch.tensor(ways)[None])  # noqa: E731
    new = Ranked(*twice([4, 3, 2], [[1.0, 0.0]] * 3), torch.tensor([[5.0, 2.0, -1.0]]))
    old = Ranked(*twice([1, 0, 2], [[-1.0, 0], [-1.0, 0], [0.0, 0]]), torch.tensor([[-1.0, -3.0, -torch.inf]]))

    def after(room: int, most: int) -> list[float]:
        return exchanged(z, new, old, torch.tensor([room]), most)[0].tolist()

    assert after(room=3, most=3) == [1, 1, 0, 1, 1]
    assert after(room=3, most=1) == [1, 1, 0, 0, 1]
    assert after(room=1, most=3) == [1, 0, 0, 1, 1]
    assert after(room=0, most=3) == [1, 0, 0, 0, 1]  # the second would cost more than it gains
    assert after(room=0, most=0) == z[0].tolist()

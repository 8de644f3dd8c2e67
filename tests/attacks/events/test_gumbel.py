"""Does Gumbel draw by its odds, follow the softmax that stands in for the draws, and change what is worth its price?"""

import pytest
import torch
from torch import Tensor

from spikeproof.attacks import EventEdits, EventFlips, Gumbel, UniformNoise
from spikeproof.attacks.events.gumbel import WORTHWHILE, even_odds
from spikeproof.choices import UserError
from spikeproof.randomness import Streams
from spikeproof.snn import SpikingNetwork
from tests.attacks.events.linear import Linear
from tests.attacks.outcomes import broken

Bars = tuple[Tensor, Tensor]


def test_at_first_as_many_cells_change_as_the_budget_has() -> None:
    x = (torch.rand(4, 3, 2, 5, 5) < 0.3).float()
    for threat in (EventFlips(7), EventFlips(7, only="insert"), EventEdits(7)):
        odds = even_odds(x, threat)
        chance = torch.cat([odds, torch.zeros_like(odds[:1])]).softmax(0)[:2]
        torch.testing.assert_close(chance.sum((0, 2, 3, 4, 5)), torch.full((4,), 7.0))
        up, down = threat.steps(x, x)
        assert torch.equal(odds.isfinite(), torch.stack([up, down]))


def test_cells_are_drawn_by_their_odds() -> None:
    lots = Streams(torch.tensor([3]))
    odds = torch.stack([torch.full((1, 20000), 1.0), torch.full((1, 20000), -0.5)])
    change, soft = Gumbel()._drawn(odds, lots)
    shares = torch.tensor([1.0, -0.5, 0.0]).softmax(0)
    seen = torch.stack([(change == way).float().mean() for way in (1, -1, 0)])
    torch.testing.assert_close(seen, shares, atol=0.01, rtol=0)
    torch.testing.assert_close(soft.sum(0), torch.ones(1, 20000))
    assert torch.equal(soft.argmax(0) == 0, change == 1)
    never = torch.stack([odds[0], torch.full((1, 20000), -torch.inf)])
    change, soft = Gumbel()._drawn(never, lots)
    assert (change >= 0).all()
    assert (soft[1] == 0).all()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_gradient_is_that_of_the_softmax(temperature: float) -> None:
    torch.manual_seed(0)
    slope, noise = torch.randn(2, 3, 1, 2, 2), torch.randn(3, 2, 3, 1, 2, 2)
    odds = torch.randn(2, 2, 3, 1, 2, 2, requires_grad=True)
    soft = ((noise + torch.cat([odds, torch.zeros_like(odds[:1])])) / temperature).softmax(0)
    (slope * (soft[0] - soft[1]) - 0.3 * (soft[0] + soft[1])).sum().backward()
    attack = Gumbel(weight=0.3, temperature=temperature)
    torch.testing.assert_close(attack._uphill(torch.stack([slope, -slope]), soft.detach(), EventEdits(3)), odds.grad)


def test_a_weight_is_the_price_of_a_change() -> None:
    weight = torch.linspace(-1, 1, 40).view(2, 1, 4, 5)
    x = (torch.arange(40) % 3 == 0).float().view(1, 2, 1, 4, 5)
    model = Linear(weight, (99.0, 0.0))
    Gumbel(steps=100, weight=0.5)(model, x, torch.zeros(1, dtype=torch.long), EventFlips(40))
    gain = torch.where(x == 0, weight, -weight)
    assert torch.equal(model.seen[-1] != x, gain > 0.5)


def test_without_a_weight_some_times_as_many_cells_as_the_budget_has_pay_their_price() -> None:
    gain = torch.arange(1.0, 31).view(1, 1, 5, 6)
    gain = torch.stack([gain, -gain])
    assert Gumbel().price(gain, EventFlips(3)).item() == 30 - (WORTHWHILE * 3 - 1)
    assert Gumbel().price(gain, EventFlips(3000)).item() == 1
    soft = torch.full((3, 1, 1, 5, 6), 0.3)
    soft[0, 0, 0, 4] = 0  # which may not have one more, and gain nothing
    gain[0, 0, 0, 4] = -torch.inf
    priced = Gumbel(weight=24.0 - (WORTHWHILE * 3 - 1))._uphill(gain, soft, EventFlips(3))
    assert priced.isfinite().all()
    assert torch.equal(Gumbel()._uphill(gain, soft, EventFlips(3)), priced)


def test_only_whole_frames_within_the_budget_are_asked_about() -> None:
    x, threat = (torch.rand(5, 3, 1, 4, 4) < 0.3).float(), EventFlips(4)
    model = Linear(torch.randn(3, 1, 4, 4), (99.0, 0.0))
    Gumbel(steps=10, draws=2)(model, x, torch.zeros(5, dtype=torch.long), threat)
    assert len(model.seen) == 20
    assert all(threat.contains(seen, x).all() for seen in model.seen)
    assert not torch.equal(model.seen[0], model.seen[1])


def test_more_recordings_than_by_noise(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    outcome = Gumbel().run(bar_network, x, y, EventFlips(12), stop=True)
    wrong = broken(bar_network, outcome.x, y)
    assert wrong.sum() > broken(bar_network, UniformNoise(draws=20)(bar_network, x, y, EventFlips(12)), y).sum() + 5
    assert (outcome.gradients[~wrong] == 50).all()
    assert (outcome.gradients[wrong] <= 50).all()
    assert torch.equal(outcome.gradients, outcome.forwards)


def test_what_is_refused() -> None:
    for make, said in (
        (lambda: Gumbel(learning_rate=0.0), "learning_rate of Gumbel must be a number above 0, not 0.0"),
        (lambda: Gumbel(temperature=float("nan")), "temperature of Gumbel must be a number above 0, not nan"),
        (lambda: Gumbel(weight=-0.1), "weight of Gumbel must be a number from 0 on or None, not -0.1"),
    ):
        with pytest.raises(UserError, match=said):
            make()

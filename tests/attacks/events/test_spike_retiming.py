"""Do the attacks on timing follow their objectives, and find the best moves of linear networks?"""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import EventFlips, Retiming, SpikeRetiming, SteepestRetiming, UniformNoise
from spikeproof.attacks.events.spike_retiming import on_events, reach_of
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork
from tests.attacks.outcomes import broken

Bars = tuple[Tensor, Tensor]
BOTH = [SpikeRetiming(steps=25), SteepestRetiming(steps=25)]
both = pytest.mark.parametrize("attack", BOTH, ids=lambda attack: type(attack).__name__)


class Linear(nn.Module):
    """Two classes, the second by sum of weight * frames - bias."""

    def __init__(self, weight: Tensor, bias: float = 9.0) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        value = (x * self.weight).flatten(1).sum(1) - self.bias
        return torch.stack([torch.zeros_like(value), value], 1)


def lone_events(count: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Recordings ``[count, 6, 1, 4, 5]`` with one event in each pixel, the frame it is in, and the weight of cells."""
    torch.manual_seed(0)
    frame, weight = torch.randint(0, 6, (count, 1, 1, 4, 5)), torch.randn(6, 1, 4, 5)
    return torch.zeros(count, 6, 1, 4, 5).scatter(1, frame, 1), frame, weight


def gains(frame: Tensor, weight: Tensor) -> Tensor:
    """What each event would gain in each frame ``[count, 6, 1, 4, 5]``."""
    weights = weight.expand(len(frame), *weight.shape)
    return weights - weights.gather(1, frame)


@both
@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_best_jitter_of_lone_events(attack: SpikeRetiming | SteepestRetiming, most: int) -> None:
    x, frame, weight = lone_events()
    found = attack(Linear(weight), x, torch.zeros(10, dtype=torch.long), Retiming(most))
    near = (torch.arange(6).view(6, 1, 1, 1) - frame).abs() <= most
    best = gains(frame, weight).masked_fill(~near, -torch.inf).amax(1, keepdim=True)
    assert torch.equal(found.sum(1), x.sum(1))
    torch.testing.assert_close((gains(frame, weight) * found).sum(1, keepdim=True), best)


def test_the_most_worthwhile_moves_of_lone_events() -> None:
    x, frame, weight = lone_events()
    threat = Retiming(4, by="moved")
    found = SteepestRetiming()(Linear(weight), x, torch.zeros(10, dtype=torch.long), threat)
    assert threat.contains(found, x).all()
    best = gains(frame, weight).amax(1).flatten(1).topk(4, dim=1).values.sum(1)
    torch.testing.assert_close((gains(frame, weight) * found).flatten(1).sum(1), best)


def best_of_all(x: Tensor, weight: Tensor, threat: Retiming) -> float:
    """What the best of all allowed moves gain, summed over recordings; a knapsack over pixels where they share."""
    shared, total = threat.by != "jitter", 0.0
    ways = torch.tensor(list(product([0.0, 1.0], repeat=x.shape[1]))).view(-1, x.shape[1], 1, 1, 1)
    for recording in x.unbind(0):
        reached = torch.zeros(threat.budget + 1)  # by how much of the budget
        for place in product(*map(range, recording.shape[1:])):
            before, worth = (t[(slice(None), *place)].view(1, -1, 1, 1, 1) for t in (recording, weight))
            kept = ways[(ways.sum(1) == before.sum(1)).flatten()]
            size = threat.per_pixel(kept, before.expand_as(kept)).flatten().long()
            gain = ((kept - before) * worth).flatten(1).sum(1)
            best = torch.full_like(reached, -torch.inf)
            for cost, gained in zip(size.tolist(), gain.tolist(), strict=True):
                if cost <= threat.budget:
                    spent = cost if shared else 0
                    best[spent:] = best[spent:].maximum(reached[: len(reached) - spent] + gained)
            reached = best
        total += reached.amax().item()
    return total


@pytest.mark.parametrize(
    ("threat", "share"),
    [(Retiming(1), 0.9), (Retiming(2), 0.87), (Retiming(8, by="delay"), 0.98), (Retiming(4, by="moved"), 0.99)],
    ids=str,
)
def test_crowded_events_come_near_the_best_of_all_moves(threat: Retiming, share: float) -> None:
    torch.manual_seed(2)
    x, weight = (torch.rand(4, 6, 1, 3, 3) < 0.5).float(), torch.randn(6, 1, 3, 3)
    best = best_of_all(x, weight, threat)
    found = SteepestRetiming()(Linear(weight, 99.0), x, torch.zeros(4, dtype=torch.long), threat)
    assert share * best < ((found - x) * weight).sum() <= best + 1e-3


def test_a_shared_delay_goes_where_a_frame_of_it_gains_most() -> None:
    x, weight = torch.zeros(1, 4, 1, 1, 3), torch.zeros(4, 1, 1, 3)
    x[0, 0] = 1
    weight[:, 0, 0, 0] = torch.tensor([0.0, 1.0, 1.5, 1.8])  # one frame at 1
    weight[:, 0, 0, 1] = torch.tensor([0.0, 0.5, 2.4, 0.0])  # two at 1.2
    weight[:, 0, 0, 2] = torch.tensor([0.0, 0.0, 0.0, 2.9])  # three at 0.97
    for budget, moved in ((2, [0, 2, 0]), (3, [1, 2, 0]), (6, [1, 2, 3])):
        threat = Retiming(budget, by="delay")
        found = SteepestRetiming()(Linear(weight), x, torch.zeros(1, dtype=torch.long), threat)
        assert found.argmax(1).flatten().tolist() == moved


@pytest.mark.parametrize("by", ["jitter", "delay", "moved"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_gradient_is_that_of_the_objective(by: str, temperature: float) -> None:
    """Held against autograd through the soft frames."""
    torch.manual_seed(0)
    x, slope = (torch.rand(3, 5, 2, 2, 2) < 0.5).double(), torch.randn(3, 5, 2, 2, 2, dtype=torch.float64)
    attack, threat = SpikeRetiming(crowding=200.0, temperature=temperature), Retiming(4, by=by)
    reach = reach_of(x, threat)
    odds = torch.randn(reach.to.shape, dtype=torch.float64, requires_grad=True)
    share = (odds / temperature).masked_fill(~reach.possible, -torch.inf).softmax(1)
    recording, frame, cell = reach.events
    soft = torch.zeros(3, 5, 8, dtype=torch.float64)
    costs = [torch.zeros((), dtype=torch.float64) for _ in range(3)]
    for event in range(len(frame)):
        for number, shift in enumerate(reach.shifts.tolist()):
            if 0 <= frame[event] + shift < 5:
                soft = soft.index_put(
                    (recording[event], frame[event] + shift, cell[event]), share[event, number], accumulate=True
                )
                cost = {"jitter": 0, "delay": abs(shift), "moved": int(shift != 0)}[by]
                costs[recording[event]] = costs[recording[event]] + share[event, number] * cost
    assert (soft > 1).any()
    crowd = 200 * (soft - 1).clamp(min=0).square().flatten(1).mean(1)
    spent = 10 * (torch.stack(costs) - 4).clamp(min=0) / 4
    assert by == "jitter" or (spent > 0).any()
    ((slope.flatten(2) * soft).flatten(1).sum(1) - crowd - spent).sum().backward()
    torch.testing.assert_close(attack._uphill(slope, odds.detach(), reach, threat), odds.grad)


def test_whither_events_can_go() -> None:
    x = torch.zeros(2, 3, 1, 1, 2)
    x[0, 0, 0, 0, 1] = x[1, 2, 0, 0, 0] = 1
    reach = reach_of(x, Retiming(1))
    assert reach.shifts.tolist() == [-1, 0, 1]
    assert reach.to.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert reach.possible.tolist() == [[False, True, True], [True, True, False]]
    values = torch.arange(12.0).view(2, 3, 1, 1, 2)
    assert reach.at(values).tolist() == [[1, 1, 3], [8, 10, 10]]


@both
@pytest.mark.parametrize("threat", [Retiming(1), Retiming(40, by="moved")], ids=str)
def test_more_recordings_than_by_noise(
    attack: SpikeRetiming | SteepestRetiming, threat: Retiming, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = bars
    found = attack(bar_network, x, y, threat)
    assert threat.contains(found, x).all()
    noise = UniformNoise(draws=5)(bar_network, x, y, threat)
    assert broken(bar_network, found, y).sum() > broken(bar_network, noise, y).sum()


def test_under_a_shared_budget_the_gradient_beats_steps_by_sign(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    threat = Retiming(24, by="moved")
    by_sign, steepest = (broken(bar_network, attack(bar_network, x, y, threat), y).sum() for attack in BOTH)
    assert steepest > by_sign + 5


@both
def test_a_broken_recording_costs_no_more(
    attack: SpikeRetiming | SteepestRetiming, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = bars
    twice = type(attack)(steps=8, restarts=2)
    outcome = twice.run(bar_network, x, y, Retiming(1), stop=True)
    wrong = broken(bar_network, outcome.x, y)
    assert wrong.any()
    assert not wrong.all()
    assert (outcome.gradients[~wrong] == 16).all()
    assert (outcome.forwards[~wrong] == 18).all()
    steps, looks = outcome.gradients[wrong], outcome.forwards[wrong] - outcome.gradients[wrong]
    assert ((looks == (steps - 1) // 8) | (looks == steps // 8)).all()  # broken by a step, or by the look after a leg
    assert (steps < 16).any()


def test_restarts_begin_elsewhere(bar_network: SpikingNetwork, bars: Bars) -> None:
    class Noted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return bar_network(x)

    for attack in (SpikeRetiming(steps=1, restarts=2), SteepestRetiming(steps=1, restarts=2)):
        seen: list[Tensor] = []
        attack(Noted(), *bars, Retiming(2))
        assert len(seen) == 4
        assert not torch.equal(seen[0], seen[2])


def test_what_is_refused() -> None:
    for make, said in (
        (lambda: SpikeRetiming(crowding=-1.0), "crowding"),
        (lambda: SpikeRetiming(overspending=float("inf")), "overspending"),
        (lambda: SpikeRetiming(temperature=0.0), "temperature"),
        (lambda: SteepestRetiming(momentum=-0.1), "momentum"),
        (lambda: on_events(EventFlips()), "under Retiming"),
    ):
        with pytest.raises(UserError, match=said):
            make()

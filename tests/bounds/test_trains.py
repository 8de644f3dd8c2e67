"""Are these all trains, and no others? Under constant currents, and as paths of last spikes."""

import itertools

import pytest
import torch

from spikeproof.bounds.constant import Constants, trains_of, under
from spikeproof.bounds.neurons import Integration, by_last_spike
from spikeproof.bounds.signals import Box, Paths, Range, Trains
from spikeproof.snn.dynamics import Leaky, integrate
from spikeproof.snn.gradients import Triangle

SETTINGS = [
    Constants(leak, threshold, hard, charge * threshold)
    for leak, threshold, hard, charge in itertools.product((0.0, 0.5, 0.9, 1.0), (1.0, 0.3), (True, False), (0.0, 0.5))
]


def simulated(currents, by: Constants):
    """Spikes ``[T, N]`` of currents ``[T, N]``."""
    currents = currents.clone()
    currents[0] += by.leak * by.charge
    leak, threshold = torch.tensor([by.leak, by.threshold], dtype=currents.dtype)
    return integrate(currents, Leaky(leak, threshold, by.hard), Triangle()).spikes


@pytest.mark.parametrize("by", SETTINGS, ids=str)
@pytest.mark.parametrize("steps", [1, 4, 6])
def test_every_constant_current_has_the_train_of_its_interval(by, steps):
    currents = torch.linspace(-0.5, 2.5 * by.threshold, 3001).double()
    seen = simulated(currents.expand(steps, -1), by).T.long().tolist()
    trains = trains_of(by, steps)
    assert {tuple(spikes) for spikes in seen} == {train.spikes for train in trains if train.high > train.low + 1e-9}
    for current, spikes in zip(currents.tolist(), seen, strict=True):
        assert any(t.spikes == tuple(spikes) and t.low - 1e-9 <= current <= t.high + 1e-9 for t in trains)


def test_hard_reset_has_a_train_for_each_period():
    """The smallest k with c (1 - leak^k) / (1 - leak) >= threshold, for leak 1 c k >= threshold; or silence."""
    for leak, periods in ((1.0, [1 / k for k in range(1, 7)]), (0.5, [1 / (2 - 2 ** (1 - k)) for k in range(1, 7)])):
        found = trains_of(Constants(leak, 1.0, True, 0.0), 6)
        trains = [train for train in found if train.high > train.low + 1e-9]  # others are rounding
        assert len(trains) == 7
        assert [train.low for train in trains[:0:-1]] == pytest.approx(periods)
        for number, train in enumerate(trains[:0:-1], 1):
            assert train.spikes == tuple(int(t % number == 0) for t in range(1, 7))
    assert trains[0].spikes == (0,) * 6


def test_soft_reset_without_a_leak_counts_as_the_total_current_does():
    """floor(T c) spikes of threshold 1 for c in [0, 1]: what is left is below the threshold."""
    for train in trains_of(Constants(1.0, 1.0, False, 0.0), 5):
        middle = (max(train.low, 0.0) + min(train.high, 1.0)) / 2
        assert sum(train.spikes) == int(5 * middle + 1e-9)


def test_sums_over_trains_are_those_of_the_union():
    trains = trains_of(Constants(1.0, 1.0, True, 0.0), 4)
    found = under(Range(torch.tensor([[0.2, 0.6, 0.3]]).double(), torch.tensor([[0.3, 0.9, 1.5]]).double()), trains)
    low, high = found.summed(torch.tensor([[1.0, 1, 1, 1], [0, 1, 0, -1], [1, 0, 0, 0]]).double())
    # c in [.2, .3]: period 4, or none; [.6, .9]: period 2; [.3, 1.5]: periods 4, 3, 2, 1
    assert low[:, 0].tolist() == [[0, 2, 1], [-1, 0, -1], [0, 0, 0]]
    assert high[:, 0].tolist() == [[1, 2, 4], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("leak", [0.5, 1.0])
def test_paths_hold_every_train_of_a_box_and_after_a_hard_reset_no_other(hard, leak):
    drawn, steps = torch.Generator().manual_seed(0), 4
    middle = torch.rand(steps, 1, 12, generator=drawn, dtype=torch.float64) * 1.4 - 0.2
    half = torch.rand(steps, 1, 12, generator=drawn, dtype=torch.float64) * 0.3
    by = Integration(*torch.tensor([leak, 1.0]).double(), hard, 0.0, Triangle())
    paths = by_last_spike(Box(Range(middle - half, middle + half)), by).spikes
    assert isinstance(paths, Paths)
    part = torch.rand(steps, 10_000, 1, generator=drawn, dtype=torch.float64)
    part[:, ::2] = part[:, ::2].round()
    seen = simulated((middle + (2 * part - 1) * half).flatten(1), Constants(leak, 1.0, hard, 0.0)).view(steps, -1, 12)
    weights = torch.randn(20, steps, generator=drawn, dtype=torch.float64)
    sums = torch.einsum("ft,tbn->fbn", weights, seen)
    low, high = paths.summed(weights)
    assert (low[:, 0] <= sums.amin(1) + 1e-9).all()
    assert (high[:, 0] >= sums.amax(1) - 1e-9).all()
    if hard:  # drawn currents reach nearly all trains that there are
        assert ((low[:, 0] - sums.amin(1)).abs() < 1e-9).float().mean() > 0.95


def test_a_box_of_steps_and_what_never_changes():
    box = Box(Range(torch.tensor([[[0.0]], [[1.0]]]), torch.tensor([[[1.0]], [[2.0]]])))
    low, high = box.summed(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
    assert (low.flatten().tolist(), high.flatten().tolist()) == ([-2, 1], [0, 3])
    lasting = Box(Range(torch.tensor([[[0.0]]]), torch.tensor([[[1.0]]])))
    low, high = lasting.summed(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
    assert (low.flatten().tolist(), high.flatten().tolist()) == ([0, 0], [0, 2])


def test_a_slack_leaves_both_trains_near_a_jump():
    constants, at = Constants(1.0, 1.0, True, 0.0), torch.tensor([[0.5]]).double()
    for slack, count in ((0.0, 1), (1e-6, 2)):
        found = under(Range(at - 1e-7, at - 1e-7), trains_of(constants, 2, slack))
        assert isinstance(found, Trains)
        assert int(found.last - found.first) + 1 == count

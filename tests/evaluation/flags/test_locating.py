"""Is a gradient seen that lies beside the values it belongs to, or that leaves out those that count?"""

import math

import pytest
import torch

import spikeproof as sp
from spikeproof.controls.hiding import Changed, Outside, shifted, without_the_largest
from spikeproof.evaluation.flags import CHECKS, Trials, examine
from spikeproof.evaluation.flags.locating import DRAWS, NEARBY, Located, copies, located
from spikeproof.evaluation.judging import Judge

KEYS = ("gradient-displaced", "gradient-leaves-out", "gradient-wavers")


def trials_of(model, x, y, threat=None):
    return Trials(Judge(model, 1, False), x, y, threat or sp.Linf(0.1), torch.zeros(len(x), dtype=torch.bool))


def flags_of(model, x, y, threat=None):
    checks = [each for each in CHECKS if each.key in KEYS]
    return {flag.key: flag for flag in examine(trials_of(model, x, y, threat), checks)}


@pytest.mark.parametrize("threat", [sp.Linf(0.1), sp.L2(0.5), sp.L1(4.0)], ids=str)
def test_an_honest_network_raises_none(trained, images, threat):
    found = flags_of(trained, *images, threat)
    assert set(found) == set(KEYS)
    assert not any(flag.raised for flag in found.values()), found


@pytest.mark.parametrize(("change", "key"), [(shifted, KEYS[0]), (without_the_largest, KEYS[1])])
def test_each_sees_what_it_is_there_for_and_only_that(trained, images, change, key):
    found = flags_of(Changed(trained, change, hard=False), *images)
    assert {name for name, flag in found.items() if flag.raised} == {key}
    assert found[key].spoils


def test_a_wave_that_is_finer_than_steps_is_seen(trained, images):
    found = flags_of(Outside(trained, lambda x: x + 0.02 * (300 * x).sin()), *images)
    assert found["gradient-wavers"].raised
    assert not flags_of(Outside(trained, lambda x: x + 0.02 * (3 * x).sin()), *images)["gradient-wavers"].raised


def test_it_is_asked_once_and_counted(trained, images):
    trials = trials_of(trained, images[0][:9], images[1][:9])
    first = located(trials)
    spent = trials.gradients, trials.forwards
    assert located(trials) is first
    assert (trials.gradients, trials.forwards) == spent
    assert spent[0] == 9 * (1 + NEARBY)
    # logits, the gradient, steps along seven, pairs of two parts, the gradients nearby
    assert spent[1] == 9 * (1 + 1 + 7 * 3 + DRAWS * 2 * 2 + NEARBY)


def test_a_gradient_has_six_copies_and_a_line_of_pixels_is_its_own():
    slope = torch.arange(12.0).view(1, 1, 3, 4)
    assert len({tuple(copy.flatten().tolist()) for copy in copies(slope)}) == 6
    assert sum(torch.equal(copy, slope[..., :1, :]) for copy in copies(slope[..., :1, :])) == 3


def test_ratios_are_bounded_where_one_side_does_not_move():
    none, some = torch.zeros(2, 1), torch.ones(2, 1)
    moved = torch.ones(2, dtype=torch.bool)
    assert Located(none.unsqueeze(2), none, some, moved, none).ratios.tolist() == [[-5.0], [-5.0]]
    assert Located(none.unsqueeze(2), some, none, moved, none).ratios.tolist() == [[5.0], [5.0]]
    assert math.isclose(float(Located(none.unsqueeze(2), 2 * some, some, moved, none).ratios[0, 0]), math.log(2))


def test_where_nothing_moves_nothing_is_said(trained, images):
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.eye(10)[0].expand(len(x), 10) + 0 * x.flatten(1).sum(1, keepdim=True)

    assert flags_of(Constant(), *images) == {}

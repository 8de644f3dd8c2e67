"""How do output currents over time become logits? By hand, on paper."""

import math

import pytest
import torch

from spikeproof.choices import UserError
from spikeproof.registry import known
from spikeproof.snn import FirstSpike, LastPotential, MeanCurrent, Readout, Triangle

READOUTS = [kind() for kind in known(Readout).values()]
CURRENTS = torch.tensor([[[4.0, 0.0]], [[2.0, 1.0]], [[0.0, 8.0]]])  # [T, B, K] = [3, 1, 2]


@pytest.mark.parametrize("readout", READOUTS, ids=str)
@pytest.mark.parametrize("steps", [1, 4])
def test_contract(readout: Readout, steps: int) -> None:
    currents = torch.randn(steps, 5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = readout(currents)
    assert logits.shape == (5, 3)
    (gradient,) = torch.autograd.grad(logits.sum(), currents)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().sum(1) > 0).all()  # every step counts
    assert torch.equal(readout(currents), logits)
    assert torch.equal(readout(currents[:, 2:4]), logits[2:4])  # images do not meet


def test_mean_current_by_hand() -> None:
    assert MeanCurrent()(CURRENTS).tolist() == [[2.0, 3.0]]


def test_last_potential_by_hand() -> None:
    # leak 1/2: 4/4 + 2/2 + 0 = 2 and 0/4 + 1/2 + 8 = 8.5
    assert LastPotential()(CURRENTS).tolist() == [[2.0, 8.5]]
    assert LastPotential(leak=1.0)(CURRENTS).tolist() == [[6.0, 9.0]]
    assert LastPotential(leak=0.0)(CURRENTS).tolist() == [[0.0, 8.0]]


def test_first_spike_by_hand() -> None:
    # Class 0 fires at step 0, class 1 at step 1 (1.0 reaches the threshold), T = 3: 5 * 3/3 and 5 * 2/3,
    # then tie_break (1/2) tanh(mean current) scale / T.
    late = [5 * 3 / 3 + 0.5 * math.tanh(2) * 5 / 3, 5 * 2 / 3 + 0.5 * math.tanh(3) * 5 / 3]
    assert FirstSpike()(CURRENTS)[0].tolist() == pytest.approx(late)
    plain = FirstSpike(scale=1.0, tie_break=0.0)
    assert plain(CURRENTS)[0].tolist() == pytest.approx([1, 2 / 3])
    assert plain(torch.full((3, 1, 2), 0.25)).tolist() == [[0.0, 0.0]]  # 0.25, 0.375, 0.4375: none fires


def test_first_spike_is_never_overruled_by_the_tie_break() -> None:
    currents = torch.zeros(4, 1, 2)
    currents[:, 0, 0] = torch.tensor([1.0, -9.0, -9.0, -9.0])  # first, with a mean current of -6.5
    currents[:, 0, 1] = torch.tensor([0.0, 99.0, 99.0, 99.0])  # one step later, and strong
    assert FirstSpike()(currents).argmax() == 0


def test_first_spike_has_the_gradient_of_one_minus_the_product() -> None:
    # T = 2, one class, currents 0.5 and 0.5, leak 1/2: u = 0.5, 0.75, no spike; the triangle gives d = 0.5, 0.75.
    # fired = s0, 1 - (1 - s0)(1 - s1); mean: d/ds0 = (1 + (1 - s1)) / 2 = 1, d/ds1 = (1 - s0) / 2 = 1/2.
    # du1 = 0.5 * 0.75; du0 = 1 * 0.5 + leak du1 (1 - u0 d0) = 0.5 + 0.5 * 0.375 * 0.75
    currents = torch.full((2, 1, 1), 0.5, requires_grad=True)
    readout = FirstSpike(scale=1.0, tie_break=0.0, gradient=Triangle())
    (gradient,) = torch.autograd.grad(readout(currents).sum(), currents)
    assert gradient.flatten().tolist() == [0.5 + 0.5 * 0.375 * 0.75, 0.375]


def test_impossible_leaks_are_refused() -> None:
    for leak in (-0.1, 1.1, math.nan):
        with pytest.raises(UserError, match="leak"):
            LastPotential(leak=leak)
        with pytest.raises(UserError, match="leak"):
            FirstSpike(leak=leak)
    for threshold in (0.0, -1.0, math.nan):
        with pytest.raises(UserError, match="threshold"):
            FirstSpike(threshold=threshold)

"""Does the sparse attack descend on its loss, keep its change small, and stay within threats of both kinds?"""

import pytest
import torch
from torch import Tensor

from spikeproof.attacks import EventEdits, EventFlips, FrameL2, FrameLinf, SparseAttack, UniformNoise
from spikeproof.attacks.events.sparse_adam import Unlikelihood, growth
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork
from tests.attacks.events.linear import Linear
from tests.attacks.outcomes import broken

Bars = tuple[Tensor, Tensor]


def test_the_loss_by_hand() -> None:
    loss = Unlikelihood()(torch.tensor([[0.0, 3.0]]).log(), torch.tensor([1]))
    assert loss.item() == pytest.approx(torch.tensor(1e-6).log().item(), abs=1e-3)  # sure of it
    loss = Unlikelihood()(torch.tensor([[1.0, 3.0]]).log(), torch.tensor([1]))
    assert loss.item() == pytest.approx(torch.tensor(0.25).log().item(), abs=1e-4)


def test_the_gradient_of_the_size() -> None:
    change = torch.randn(2, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    change.square().flatten(2).mean(2).sqrt().sum().backward()
    torch.testing.assert_close(growth(change.detach()), change.grad)
    assert (growth(torch.zeros(1, 2, 1, 2, 2)) == 0).all()


def test_the_first_step_is_the_learning_rate_uphill() -> None:
    weight = torch.tensor([1.0, -2.0, 0.0, 0.5]).view(2, 1, 1, 2)
    model, x = Linear(weight, (0.0, -5.0)), torch.full((1, 2, 1, 1, 2), 3.0)
    SparseAttack(steps=1, learning_rate=0.25)(model, x, torch.zeros(1, dtype=torch.long), FrameLinf(2.0, most=9.0))
    assert torch.equal(model.seen[0], x)
    torch.testing.assert_close(model.seen[1] - x, 0.25 * weight.sign().view_as(x), atol=1e-3, rtol=0)


def test_a_weight_keeps_the_change_small() -> None:
    sizes = []
    for weight in (0.0, 1.0, 10.0):
        model, x = Linear(torch.full((3, 1, 2, 2), 0.1), (0.0, -5.0)), torch.full((4, 3, 1, 2, 2), 2.0)
        SparseAttack(steps=60, weight=weight)(model, x, torch.zeros(4, dtype=torch.long), FrameLinf(1.0, most=9.0))
        sizes.append((model.seen[-1] - x).abs().mean().item())
    assert sizes[0] == pytest.approx(1, abs=1e-4)
    assert sizes[2] < 0.3
    assert sizes[2] < sizes[1] <= sizes[0]


def test_whole_events_where_the_change_is_half_an_event() -> None:
    weight = torch.tensor([1.0, -2.0, 0.0, 0.5]).view(2, 1, 1, 2)
    x = torch.tensor([[0.0, 1.0, 1.0, 1.0]]).view(1, 2, 1, 1, 2)
    model = Linear(weight, (0.0, -5.0))
    SparseAttack(steps=8, weight=0.0)(model, x, torch.zeros(1, dtype=torch.long), EventFlips(4))
    assert torch.equal(model.seen[4], x)
    assert model.seen[7].flatten().tolist() == [1, 0, 1, 1]
    counts = SparseAttack(steps=30, weight=0.0)(model, 2 * x, torch.zeros(1, dtype=torch.long), EventEdits(3))
    assert EventEdits(3).distance(counts, 2 * x) == 3


def test_frames_as_good_as_by_noise_and_better(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    for threat in (FrameLinf(0.12), FrameL2(2.0), EventFlips(20)):
        outcome = SparseAttack().run(bar_network, x, y, threat, stop=True)
        assert threat.contains(outcome.x, x).all()
        wrong = broken(bar_network, outcome.x, y)
        noise = broken(bar_network, UniformNoise(draws=20)(bar_network, x, y, threat), y)
        assert wrong.sum() > noise.sum() + 5
        assert (outcome.gradients[~wrong] == 20).all()
        assert (outcome.forwards[~wrong] == 21).all()
        assert (outcome.forwards[wrong] <= 21).all()


def test_what_is_refused() -> None:
    for make, said in (
        (lambda: SparseAttack(learning_rate=0.0), "learning_rate"),
        (lambda: SparseAttack(weight=-1.0), "weight"),
        (lambda: SparseAttack(steps=0), "steps"),
    ):
        with pytest.raises(UserError, match=said):
            make()

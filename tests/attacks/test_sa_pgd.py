"""Does SA-PGD step as its paper says, pixel by pixel, and ask only about images that are allowed?"""

import copy

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import L2, PGD, SAPGD, CrossEntropy, Linf, Margin, Threat
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


class Seen(nn.Module):
    """A model that keeps the images it was asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.images: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.images.append(x.detach().clone())
        return self.model(x)


class Ridge(nn.Module):
    """Logits +-h/2 for h = |z0 - 0.55| - 3 z1, so that the margin climbs with the gradient (-sign(z0 - 0.55), 3)."""

    def forward(self, z: Tensor) -> Tensor:
        height = (z[:, 0] - 0.55).abs() - 3 * z[:, 1] + 100
        return torch.stack([height, -height], 1) / 2


def test_the_first_steps_by_hand() -> None:
    """From x = 0.5 and z0 = 0.6, eps = 0.1: mean |g| = 2 and mean g^2 = 5 at every step.

    g = (-1, 3): m = (-0.5, 1.5), v = (0.2, 1.8): m / sqrt(v) = (-1.118, 1.118), cut to -1 and 1: z0 = 0.5.
    g = (1, 3): m = (0.25, 2.25), v = (0.36, 3.24): 0.25 / 0.6 = 0.41667: z0 = 0.541667. Two of ten steps are the first
    period: eps is halved. g = (1, 3): m = (0.625, 2.625), v = (0.488, 4.392): 0.625 / 0.69857 = 0.89469:
    z0 = 0.541667 + 0.05 * 0.89469 = 0.586401.
    """
    model, x = Seen(Ridge()), torch.full((64, 2), 0.5, dtype=torch.float64)
    SAPGD(steps=10, loss=Margin())(model, x, torch.zeros(64, dtype=torch.long), Linf(0.1))
    start, *steps = model.images
    torch.testing.assert_close((start - x).abs(), torch.full_like(x, 0.1))  # a corner for each image
    assert len(start.unique(dim=0)) == 4
    rows = start[:, 0] > x[:, 0]
    for z, expected in zip(steps, (0.5, 0.541667, 0.586401), strict=False):
        assert z[rows, 0].tolist() == pytest.approx([expected] * int(rows.sum()), abs=1e-6)
    assert (steps[-1][:, 1] - 0.6).abs().max() < 1e-9


def walked(model: nn.Module, z: Tensor, x: Tensor, y: Tensor, threat: Threat, periods: list[int]) -> list[Tensor]:
    """The iterates from `z` on; the step is halved after each of the `periods`."""
    m, v, size, seen = torch.zeros_like(x), torch.zeros_like(x), threat.eps, [z]
    for period in periods:
        for _ in range(period):
            z = z.detach().requires_grad_()
            (g,) = torch.autograd.grad(CrossEntropy()(model(z), y).sum(), z)
            m = 0.5 * m + g / g.abs().mean((1, 2, 3), keepdim=True)
            v = 0.8 * v + g**2 / (g**2).mean((1, 2, 3), keepdim=True)
            step = m / (v.sqrt() + 1e-12)
            if isinstance(threat, Linf):
                step = (size * step).clamp(-size, size)
            else:
                step = size * step / step.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            z = threat.project(z.detach() + step, x)
            seen.append(z)
        size = size / 2
    return seen


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)], ids=str)
def test_equal_to_a_loop_written_by_hand(threat: Threat, trained_ann: SpikingNetwork, digits: Examples) -> None:
    """20 steps: halved after 0.22 of them, 4, then after 4 - 1 = 3, 2, 1, 1, ... (0.03 and 0.06 of 20 are one step)."""
    x, y = digits[2][:12].double(), digits[3][:12]
    model = Seen(copy.deepcopy(trained_ann).double())
    SAPGD(steps=20)(model, x, y, threat)
    expected = walked(model.model, model.images[0], x, y, threat, [4, 3, 2, *[1] * 11])
    assert len(model.images) == len(expected) == 21
    for z, by_hand in zip(model.images, expected, strict=True):
        torch.testing.assert_close(z, by_hand, rtol=0, atol=1e-9)
    start = threat.distance(model.images[0], x)
    assert (start <= threat.eps + 1e-9).all()
    assert (start > 0.6 * threat.eps).all()  # on the sphere, but for what [0, 1] cuts off


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)], ids=str)
def test_only_allowed_images_are_asked_about(threat: Threat, trained: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:24], digits[3][:24]
    model = Seen(trained)
    SAPGD(steps=8, restarts=2)(model, x, y, threat)
    assert len(model.images) == 2 * 9
    assert all(threat.contains(z, x).all() for z in model.images)


def test_gradients_too_small_to_be_squared(trained: SpikingNetwork, digits: Examples) -> None:
    """Logits 2^-83 times as large leave no square in float32, and the same images: only ratios of gradients matter."""

    class Faint(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return trained(x) * 2.0**-83

    x, y = digits[2][:12], digits[3][:12]
    attack = SAPGD(steps=6, loss=Margin())
    expected = attack(trained, x, y, Linf(0.1))
    assert not torch.equal(expected, attack(trained, x, y, Linf(0.1), seed=1))
    torch.testing.assert_close(attack(Faint(), x, y, Linf(0.1)), expected, rtol=0, atol=1e-5)


def test_it_breaks_no_fewer_than_pgd(trained: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:30], digits[3][:30]
    with torch.no_grad():
        broken = [
            int((trained(attack(trained, x, y, Linf(0.06))).argmax(1) != y).sum())
            for attack in (PGD(steps=20), SAPGD(steps=20))
        ]
    assert broken[1] >= broken[0] - 1
    assert broken[1] > 8


def test_stopped_images_cost_no_more(trained: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:30], digits[3][:30]
    attack = SAPGD(steps=10, restarts=2, eot=2)
    whole, early = attack.run(trained, x, y, Linf(0.08)), attack.run(trained, x, y, Linf(0.08), stop=True)
    assert set(whole.gradients.tolist()) == {2 * 10 * 2}
    assert set(whole.forwards.tolist()) == {2 * 11 * 2}  # the last iterates are looked at too
    with torch.no_grad():
        broken = [trained(outcome.x).argmax(1) != y for outcome in (whole, early)]
    assert (early.gradients[~broken[1]] == 40).all()
    assert (early.gradients[broken[1]] <= 40).all()
    assert early.gradients.sum() < 0.9 * whole.gradients.sum()
    assert 0 < broken[1].sum() < 30
    assert abs(int(broken[0].sum()) - int(broken[1].sum())) <= 2


@pytest.mark.parametrize("settings", [{"steps": 0}, {"restarts": 0}, {"eot": 0}], ids=str)
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(settings))} of SAPGD must be a whole number from 1 on, not 0"):
        SAPGD(**settings)

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.attacks.attack import Whole
from spikeproof.objectives import StablePotential
from spikeproof.snn import potential_perturbation


@dataclass(frozen=True)
class Brighter(Whole):
    """Adds a tenth: a perturbation that a test can follow on paper."""

    def find(self, query):
        return (query.x + 0.1).clamp(0, 1)


class Net(nn.Module):
    """Two pixels -> currents 2 x, at three steps -> DLIF -> mean over time of 3 classes."""

    def __init__(self, neuron=None):
        super().__init__()
        self.fire = (neuron or sp.DLIF(leak=0.5)).layer(3).double()
        self.scale = nn.Parameter(torch.tensor(2.0).double())
        self.out = nn.Linear(2, 3).double()

    def forward(self, x):
        currents = (self.scale * x.flatten(1)).expand(3, -1, -1)
        return self.out(self.fire(currents)).mean(0)


X, Y = torch.tensor([[[[0.3, 0.6]]]]).double(), torch.tensor([1])


def test_the_recursion_by_hand():
    """I~ - I = 2 * 0.1 at every step, leak 0.5: Y = 0.2, 0.3, 0.35 for both neurons, whether or not they fire."""
    model = Net()
    with sp.record(model) as clean:
        model(X)
    with sp.record(model) as moved:
        model(X + 0.1)
    y = potential_perturbation(clean, moved, "fire")
    torch.testing.assert_close(y[:, 0, 0].detach(), torch.tensor([0.2, 0.3, 0.35]).double())
    terms = StablePotential(weight=2.0, attack=Brighter())(model, X, Y)
    assert terms["potential_perturbation"].item() == pytest.approx(2 * (0.04 + 0.09 + 0.1225) / 3)
    absolute = StablePotential(weight=2.0, attack=Brighter(), penalty="absolute")(model, X, Y)
    assert absolute["potential_perturbation"].item() == pytest.approx(2 * (0.2 + 0.3 + 0.35) / 3)


def test_the_clean_branch_is_held_fixed():
    """With the clean currents fixed, s is seen in s (x + 0.1) alone: dY[t]/ds = 0.5 dY[t-1]/ds + x + 0.1."""
    model = Net()
    loss = StablePotential(weight=1.0, attack=Brighter())(model, X, Y)["potential_perturbation"]
    (grad,) = torch.autograd.grad(loss, model.scale)
    total = 0.0
    for pixel in (0.4, 0.7):
        slopes = [pixel, 1.5 * pixel, 1.75 * pixel]
        total += sum(2 * y * slope for y, slope in zip((0.2, 0.3, 0.35), slopes, strict=True)) / 6
    assert grad.item() == pytest.approx(total)


def test_the_gain_is_not_in_the_recursion():
    model = Net()
    before = StablePotential(attack=Brighter())(model, X, Y)["potential_perturbation"].item()
    with torch.no_grad():
        model.fire.gain.copy_(torch.tensor([3.0, 0.1, -2.0]))
    assert StablePotential(attack=Brighter())(model, X, Y)["potential_perturbation"].item() == pytest.approx(before)


def test_the_joint_loss():
    model = Net()
    terms = StablePotential(weight=0.0, clean_weight=0.3, attack=Brighter())(model, X, Y)
    clean, moved = (nn.functional.cross_entropy(model(x), Y).item() for x in (X, X + 0.1))
    assert terms["cross_entropy"].item() == pytest.approx(0.3 * clean)
    assert terms["perturbed_cross_entropy"].item() == pytest.approx(0.7 * moved)
    assert set(terms) == {"cross_entropy", "perturbed_cross_entropy"}


def deep():
    network = sp.Network(architecture=sp.SmallCNN(widths=(3, 4, 5)), neuron=sp.DLIF(), steps=3)
    return network.build((1, 8, 8), 10).train()


def test_last_layer_or_all():
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    model = deep().eval()
    with sp.record(model) as clean:
        model(x)
    with sp.record(model) as moved:
        model((x + 0.1).clamp(0, 1))
    sizes = [potential_perturbation(clean, moved, n).square().mean().item() for n in moved.currents]
    last = StablePotential(attack=Brighter())(model, x, y)["potential_perturbation"].item()
    every = StablePotential(attack=Brighter(), layers="all")(model, x, y)["potential_perturbation"].item()
    assert len(sizes) == 3
    assert last == pytest.approx(sizes[-1], rel=1e-5)
    assert every == pytest.approx(sum(sizes) / 3, rel=1e-5)


def test_gaussian_noise_instead_of_an_attack():
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    objective = StablePotential(attack=None, sigma="25/255")
    torch.manual_seed(0)
    first = objective(deep(), x, y)
    torch.manual_seed(0)
    again = objective(deep(), x, y)
    assert first == again
    assert objective(deep(), x, y)["potential_perturbation"] != first["potential_perturbation"]
    assert StablePotential(attack=None, sigma=0.0)(deep().eval(), x, y)["potential_perturbation"] == 0


def test_every_weight_and_every_gain_learns():
    model = deep()
    sum(StablePotential()(model, torch.rand(8, 1, 8, 8), torch.arange(8)).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    gains = [m.gain for m in model.modules() if getattr(m, "gain", None) is not None]
    assert len(gains) == 3
    assert any(g.grad.abs().sum() > 0 for g in gains)


def test_dlif_scales_each_steps_current():
    """leak 0.5, threshold 1, gains (1, 2, 0.5), current 0.4: u = 0.4; 0.2 + 0.8 = 1.0 fires; 0 + 0.2."""
    layer = sp.DLIF(leak=0.5).layer(3)
    with torch.no_grad():
        layer.gain.copy_(torch.tensor([1.0, 2.0, 0.5]))
    assert layer(torch.full((1, 1, 1), 0.4)).flatten().tolist() == [0, 1, 0]
    assert layer(torch.full((3, 1, 1), 0.4)).flatten().tolist() == [0, 1, 0]
    with pytest.raises(sp.UserError, match="gains for 3 time steps"):
        sp.view(nn.Sequential(layer), steps=2)(torch.zeros(2, 1, 1))


def test_gains_of_one_are_a_lif():
    x = 2 * torch.rand(4, 3, 5)
    assert torch.equal(sp.DLIF(leak=0.7).layer(4)(x), sp.LIF(leak=0.7).layer(4)(x))


def test_a_network_without_spikes_is_refused():
    ann = sp.Network(neuron=sp.ReLU(), steps=1, architecture=sp.MLP(hidden=(4,))).build((1, 2, 2), 3)
    with pytest.raises(sp.UserError, match="needs spiking layers"):
        StablePotential()(ann, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))


@pytest.mark.parametrize("fields", [{"weight": -1}, {"clean_weight": 2}, {"layers": "first"}, {"penalty": "cubed"}])
def test_bad_settings_are_refused(fields):
    with pytest.raises(sp.UserError):
        StablePotential(**fields)

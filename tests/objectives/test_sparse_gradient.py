import math

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.objectives import SparseGradient, Standard


def linear(weight: list[list[float]]) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weight[0]), len(weight), bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor(weight))
    return model


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_two_pixels_three_classes_by_hand():
    """z = (x1, 2 x2, -x1) at x = (0.5, 0.2): z = (0.5, 0.4, -0.5); label 0, rival 1, f = sigmoid(x1 - 2 x2).

    g = f (1 - f) (1, -2), so sign g = (1, -1); x2 = (0.51, 0.19) and f2 = sigmoid(0.51 - 0.38).
    """
    model, x, y = linear([[1, 0], [0, 2], [-1, 0]]), torch.tensor([[[[0.5, 0.2]]]]).double(), torch.tensor([0])
    f, there = sigmoid(0.1), sigmoid(0.13)
    found = SparseGradient(weight=3.0)(model, x, y)["gradient_size"].item()
    assert found == pytest.approx(3 * ((there - f) / 0.01) ** 2)
    absolute = SparseGradient(weight=3.0, penalty="absolute")(model, x, y)["gradient_size"].item()
    assert absolute == pytest.approx(3 * (there - f) / 0.01)
    exact = SparseGradient(weight=3.0, estimate="double_backward")(model, x, y)["gradient_size"].item()
    assert exact == pytest.approx(3 * (3 * f * (1 - f)) ** 2)


def test_the_rival_is_chosen_at_x_alone():
    """At x the rival of class 0 is 1 by a hair; at the shifted image it is 2, which must not be looked at."""
    model, x, y = linear([[0, 0], [1, 0], [0, 1]]), torch.tensor([[[[0.5, 0.499]]]]).double(), torch.tensor([0])
    found = SparseGradient(weight=1.0, penalty="absolute")(model, x, y)["gradient_size"].item()
    assert found == pytest.approx((sigmoid(-0.49) - sigmoid(-0.5)) / 0.01)


def smooth_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Softplus(), nn.Linear(16, 4)).double()


def test_the_difference_tends_to_the_gradient_on_a_smooth_network():
    model, x, y = smooth_network(), torch.rand(6, 3, 2, 2).double(), torch.arange(6) % 4
    exact = SparseGradient(weight=1.0, estimate="double_backward")
    sizes = {h: SparseGradient(weight=1.0, step=h)(model, x, y)["gradient_size"] for h in (1e-2, 1e-3, 1e-5)}
    wanted = exact(model, x, y)["gradient_size"]
    errors = [abs(size.item() - wanted.item()) for size in sizes.values()]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5 * wanted.item()
    weights = list(model.parameters())
    grads = [torch.autograd.grad(loss, weights) for loss in (sizes[1e-5], wanted)]
    for close, true in zip(*grads, strict=True):
        assert (close - true).norm() <= 1e-3 * true.norm() + 1e-12


def test_gradients_flow_through_both_probabilities():
    """d/dw of ((f2 - f1) / h)^2, by hand with autograd on the formula, for a fixed sign."""
    model, x, y = smooth_network(), torch.rand(5, 3, 2, 2).double(), torch.arange(5) % 4
    loss = SparseGradient(weight=2.0, step=0.1)(model, x, y)["gradient_size"]
    z = model(x)
    rival = z.masked_fill(nn.functional.one_hot(y, 4).bool(), -9e9).argmax(1)
    rows = torch.arange(5)

    def f(image):
        pair = model(image)[rows.unsqueeze(1), torch.stack([y, rival], 1)]
        return pair.softmax(1)[:, 0]

    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(f(leaf).sum(), leaf)
    by_hand = 2 * ((f(x + 0.1 * g.sign()) - f(x)) / 0.1).square().mean()
    assert loss.item() == pytest.approx(by_hand.item())
    for ours, theirs in zip(
        torch.autograd.grad(loss, list(model.parameters())),
        torch.autograd.grad(by_hand, list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def spiking() -> sp.SpikingNetwork:
    network = sp.Network(architecture=sp.SmallCNN(widths=(4, 4, 4)), steps=2)
    return network.build((1, 8, 8), 10).train()


@pytest.mark.parametrize("estimate", ["finite_difference", "double_backward"])
def test_on_a_spiking_network_every_weight_hears_of_it(estimate):
    torch.manual_seed(0)
    model, x, y = spiking(), torch.rand(8, 1, 8, 8), torch.arange(8)
    loss = SparseGradient(weight=1.0, estimate=estimate)(model, x, y)["gradient_size"]
    loss.backward()
    assert loss > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.parameters())


def running_means(model):
    return [m.running_mean.clone() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def test_frozen_statistics_are_those_of_the_first_forward():
    x, y = torch.rand(8, 1, 8, 8), torch.arange(8)
    after = {}
    for name, objective in {
        "standard": Standard(),
        "frozen": SparseGradient(weight=1.0, freeze_statistics=True),
        "free": SparseGradient(weight=1.0),
    }.items():
        model = spiking()
        objective(model, x, y)
        after[name] = running_means(model)
    assert all(torch.equal(a, b) for a, b in zip(after["standard"], after["frozen"], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(after["standard"], after["free"], strict=True))
    torch.manual_seed(1)
    losses = [
        SparseGradient(weight=1.0, freeze_statistics=frozen)(spiking(), x, y)["gradient_size"]
        for frozen in (True, False)
    ]
    assert losses[0] == losses[1]  # the loss itself is the same: only what is remembered differs


def test_clamping_keeps_the_shifted_image_in_the_unit_box():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear([[5, 0], [0, 5]])

        def forward(self, x):
            seen.append(x.detach())
            return self.inner(x)

    x, y = torch.tensor([[[[1.0, 0.0]]]]).double(), torch.tensor([0])
    SparseGradient(weight=1.0)(Spy(), x, y)
    assert seen[-1].max() > 1
    SparseGradient(weight=1.0, clamp=True)(Spy(), x, y)
    assert seen[-1].max() == 1


def test_with_an_attack_it_is_done_at_adversarial_images():
    model, threat = smooth_network(), sp.Linf(0.1)
    x, y = torch.rand(6, 3, 2, 2).double(), torch.arange(6) % 4
    attack = sp.PGD(steps=3, start="clean", keep="last")
    found = SparseGradient(weight=1.0, attack=attack, threat=threat)(model, x, y)
    x_adv = attack(model, x, y, threat)
    plain = SparseGradient(weight=1.0)(model, x_adv, y)
    assert {k: v.item() for k, v in found.items()} == pytest.approx({k: v.item() for k, v in plain.items()})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"weight": -1.0}, "weight of SparseGradient must be a number from 0 on, not -1.0"),
        ({"step": 0.0}, "step"),
        ({"step": 5.0}, r"step of SparseGradient must be .* in \(0, 1\], not 5.0"),
        (
            {"estimate": "guess"},
            "estimate of SparseGradient must be 'finite_difference' or 'double_backward', not 'guess'",
        ),
        ({"penalty": "cubed"}, "penalty of SparseGradient must be 'squared' or 'absolute', not 'cubed'"),
    ],
)
def test_bad_settings_are_refused(fields, says):
    with pytest.raises(sp.UserError, match=says):
        SparseGradient(**fields)

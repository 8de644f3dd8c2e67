"""Gradient paths: the forward is always the neuron's own, and each answers backward as its paper says."""

import pytest
import torch

import spikeproof as sp
from spikeproof.cli import choices
from spikeproof.snn.dynamics import Dynamics, integrate
from spikeproof.specs import short

PATHS = [kind() for kind in choices(sp.GradientPath).values()]
every_path = pytest.mark.parametrize("path", PATHS, ids=short)


def dynamics(leak: float = 0.5, threshold: float = 1.0, hard: bool = True) -> Dynamics:
    return Dynamics(torch.tensor(leak).double(), torch.tensor(threshold).double(), hard)


def gradient(path: sp.GradientPath, x: torch.Tensor, onward: torch.Tensor, constants: Dynamics, steps: int = 3):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(path.spikes(x, constants, steps), x, onward)
    return found


X = torch.tensor([[0.6, -0.4], [0.7, 3.0], [0.2, 0.1]]).double().unsqueeze(1)  # [T = 3, B = 1, 2 neurons]
ONWARD = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]).double().unsqueeze(1)
# leak 0.5, threshold 1: u = 0.6, 1.0 (fires), 0.2 and -0.4, 2.8 (fires), 0.1; means 0.5 and 0.9, rates 1/3 and 1/3


@every_path
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_the_forward_is_the_neurons_own(path: sp.GradientPath, constant: bool, hard: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1 if constant else 4, 5, 3, 6, 6, generator=generator).double() + 0.5
    constants = dynamics(hard=hard)
    expected = integrate(x.expand(4, *x.shape[1:]), constants, sp.Triangle()).spikes
    assert torch.equal(path.spikes(x, constants, 4), expected)
    found = gradient(path, x, torch.ones(4, 5, 3, 6, 6).double(), constants, 4)
    assert found.shape == x.shape
    assert found.isfinite().all()
    assert found.abs().sum() > 0


@every_path
def test_the_logits_are_the_networks_own_bit_for_bit(path: sp.GradientPath) -> None:
    model = sp.Network(architecture=sp.SmallCNN(widths=(4, 5, 6)), steps=4).build((1, 8, 8), 5).eval()
    x = torch.rand(6, 1, 8, 8)
    assert torch.equal(sp.view(model, gradient=path)(x), model(x))
    moved = sp.PGD(steps=2)(sp.view(model, gradient=path), x, torch.zeros(6, dtype=torch.long), sp.Linf(0.1))
    assert (moved - x).abs().max() <= 0.1 + 1e-6


def test_bptr_by_hand() -> None:
    """Both neurons fire, so that the gradient passes as it is; a third, silent one would get none."""
    assert torch.equal(gradient(sp.BPTR(), X, ONWARD, dynamics()), ONWARD)
    silent = gradient(sp.BPTR(), X * 0.1, ONWARD, dynamics())
    assert torch.equal(silent, torch.zeros_like(ONWARD))


def test_rga_by_hand() -> None:
    """leak 0.5: means 0.5 and 0.9 lie in [1 - 0.5, 2]: (1 - 0.2 + 0.2 * 0.5) / 1.5 = 0.6; a mean of 0.3 gets 0.2."""
    torch.testing.assert_close(gradient(sp.RGA(), X, ONWARD, dynamics()), 0.6 * ONWARD)
    low = X.clone()
    low[:, :, 0] = 0.3
    low[:, :, 1] = 2.5  # beyond 2: nothing
    expected = torch.stack([0.2 * ONWARD[..., 0], 0 * ONWARD[..., 1]], -1)
    torch.testing.assert_close(gradient(sp.RGA(), low, ONWARD, dynamics()), expected)
    # tau = 1, as in their code: slope 1/2 on [0, 2]
    torch.testing.assert_close(gradient(sp.RGA(), X, ONWARD, dynamics(leak=1.0)), 0.5 * ONWARD)
    # in units of the threshold: a mean of 0.9 is 0.45 of a threshold of 2, below 1 - leak
    assert gradient(sp.RGA(), X, ONWARD, dynamics(threshold=2.0))[0, 0, 1].item() == pytest.approx(0.2 * 10)


def test_as_ann_by_hand() -> None:
    x = torch.tensor([[0.5, -0.5, 2.0]]).double().unsqueeze(1)  # constant currents of three neurons
    onward = torch.ones(2, 1, 3).double()
    assert gradient(sp.AsANN(), x, onward, dynamics(), 2).flatten().tolist() == [2, 0, 2]  # summed over two steps
    assert gradient(sp.AsANN(clipped=True), x, onward, dynamics(), 2).flatten().tolist() == [2, 0, 0]


def test_hart_by_hand() -> None:
    """Slopes of the triangle at u - 1 = -0.4, 0, -0.8: 0.6, 1, 0.2, times 1, 2, 3: the mean of 0.6, 2, 0.6 is 3.2 / 3.

    The other neuron: u - 1 = -1.4, 1.8, -0.9: slopes 0, 0, 0.1, times 30: 3 / 3 = 1 at every step.
    """
    found = gradient(sp.HART(), X, ONWARD, dynamics())
    torch.testing.assert_close(found, torch.tensor([3.2 / 3, 1.0]).double().expand(3, 1, 2).contiguous())


def test_pdsg_by_hand() -> None:
    """One step: du = ds/du, the density of mean sigma / 2 and deviation sigma, sigma over both neurons' potentials."""
    x = torch.tensor([[0.5, 2.5]]).double().unsqueeze(1)  # u = x, sigma = 1; u - 1 = -0.5 and 1.5
    found = gradient(sp.PDSG(), x, torch.ones(1, 1, 2).double(), dynamics(), 1)
    density = (
        torch.distributions.Normal(torch.tensor(0.5).double(), 1.0).log_prob(torch.tensor([-0.5, 1.5]).double()).exp()
    )
    torch.testing.assert_close(found.flatten(), density)


def test_pdsg_measures_each_channel() -> None:
    x = torch.zeros(1, 4, 2, 1, 1).double()
    x[0, :, 0, 0, 0] = torch.tensor([0.0, 2.0, 0.0, 2.0])  # sigma 1
    x[0, :, 1, 0, 0] = torch.tensor([0.0, 20.0, 0.0, 20.0])  # sigma 10
    found = gradient(sp.PDSG(), x, torch.ones_like(x), dynamics(), 1)
    for channel, sigma in ((0, 1.0), (1, 10.0)):
        normal = torch.distributions.Normal(torch.tensor(0.5 * sigma).double(), sigma)
        torch.testing.assert_close(found[0, :, channel, 0, 0], normal.log_prob(x[0, :, channel, 0, 0] - 1).exp())


def test_a_mixture_is_one() -> None:
    paths = (sp.ATan(), sp.RGA())
    one, other = (gradient(path, X, ONWARD, dynamics()) for path in paths)
    mixed = sp.Mixture(first=paths[0], second=paths[1], share=0.25)
    torch.testing.assert_close(gradient(mixed, X, ONWARD, dynamics()), 0.25 * one + 0.75 * other)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sp.RGA(gamma=2), "gamma"),
        (lambda: sp.HART(width=0), "width"),
        (lambda: sp.Mixture(share=-1), "share"),
    ],
)
def test_impossible_paths_are_refused(make, said) -> None:
    with pytest.raises(sp.UserError, match=said):
        make()

"""Gradient paths: the forward is always the neuron's own, and each answers backward as its paper says."""

import copy
import math
from typing import NamedTuple

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import spikeproof as sp
from spikeproof.choices import short
from spikeproof.registry import known
from spikeproof.snn import Memory, recall, remembered
from spikeproof.snn.dynamics import Leaky, integrate

PATHS = [kind() for kind in known(sp.GradientPath).values()]
every_path = pytest.mark.parametrize("path", PATHS, ids=short)


def dynamics(leak: float = 0.5, threshold: float = 1.0, hard: bool = True) -> Leaky:
    return Leaky(torch.tensor(leak).double(), torch.tensor(threshold).double(), hard)


def gradient(path: sp.GradientPath, x: torch.Tensor, onward: torch.Tensor, constants: Leaky, steps: int = 3):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(path.spikes(x, constants, steps), x, onward)
    return found


def firing(steps: int) -> sp.SpikingNetwork:
    """A network, not trained, whose thresholds are low enough for spikes."""
    network = sp.Network(
        architecture=sp.SmallCNN(widths=(4, 5, 6)), neuron=sp.LIF(threshold=0.2, detach_reset=True), steps=steps
    )
    return network.build((1, 8, 8), 5).eval()


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
    model, x = firing(4), torch.rand(6, 1, 8, 8)
    with sp.record(model) as inside:
        model(x)
    assert all(0 < rate < 1 for rate in inside.rates().values())
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
    assert gradient(sp.RGA(), X, ONWARD, dynamics(threshold=2.0))[0, 0, 1].item() == pytest.approx(0.2 * 10 / 2)


@pytest.mark.parametrize("path", [sp.RGA(), sp.DSR()], ids=short)
def test_half_the_currents_and_half_the_threshold_is_the_same_neuron(path: sp.GradientPath) -> None:
    """So a current has twice the effect."""
    torch.testing.assert_close(
        gradient(path, X / 2, ONWARD, dynamics(threshold=0.5)), 2 * gradient(path, X, ONWARD, dynamics())
    )


def test_through_the_reset_by_hand() -> None:
    """u = 1.05, which fires and is reset to 0, and 0.98. The slopes at 0.05 and -0.02 are d1 = 3.178 and d2 = 5.255.

    The first current reaches its own spike with d1, and the second one through the reset with -0.5 * 1.05 * d1 * d2:
    together 3.18 - 8.77 = -5.59. Detached, only the first is left.
    """
    x = torch.tensor([1.05, 0.98]).double().view(2, 1, 1)
    d1, d2 = (6 / (1 + (6 * math.pi * u) ** 2) for u in (0.05, -0.02))
    for detached, expected in ((False, d1 - 0.5 * 1.05 * d1 * d2), (True, d1)):
        layer = sp.LIF(leak=0.5, gradient=sp.ATan(alpha=12.0, detach_reset=detached)).layer(2).double()
        given = x.clone().requires_grad_()
        layer(given).sum().backward()
        assert given.grad.flatten().tolist() == pytest.approx([expected, d2], rel=1e-5)
    assert d1 - 0.5 * 1.05 * d1 * d2 == pytest.approx(-5.59, abs=0.01)


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
    """du = ds/du, the density of mean sigma / 2 and deviation sigma: one sigma a neuron, over steps so far and images.

    A neuron without leak and far from its threshold of 10, for two images: u = 0, 2 after a step, 1, 4 after two.
    The deviations are sqrt(2) for 0 and 2, and sqrt(35 / 12) for 0, 2, 1 and 4.
    """
    x = torch.tensor([[0.0, 2.0], [1.0, 2.0]]).double().unsqueeze(2)
    onward = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double().unsqueeze(2)
    constants = dynamics(leak=1.0, threshold=10.0)
    sigma = (35 / 12) ** 0.5
    normal = torch.distributions.Normal(torch.tensor(sigma / 2).double(), sigma)
    expected = normal.log_prob(torch.tensor([1.0, 4.0]).double() - 10).exp()
    found = gradient(sp.PDSG(), x, onward, Leaky(constants.leak, constants.threshold, detach_reset=True), 2)
    torch.testing.assert_close(found[1].flatten(), expected)
    torch.testing.assert_close(found[0].flatten(), expected)  # what is kept of the first step is all of it

    first = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).double().unsqueeze(2)
    normal = torch.distributions.Normal(torch.tensor(2**0.5 / 2).double(), 2**0.5)
    found = gradient(sp.PDSG(), x, first, constants, 2)
    torch.testing.assert_close(found[0].flatten(), normal.log_prob(torch.tensor([0.0, 2.0]).double() - 10).exp())


def test_pdsg_of_one_image_in_a_linear_layer_is_finite() -> None:
    """One potential has no deviation: sigma is 1."""
    found = gradient(sp.PDSG(), X[:1], ONWARD[:1], dynamics(), 1)
    normal = torch.distributions.Normal(torch.tensor(0.5).double(), 1.0)
    torch.testing.assert_close(found.flatten(), ONWARD[0, 0] * normal.log_prob(X[0, 0] - 1).exp())


def test_pdsg_measures_each_channel() -> None:
    x = torch.zeros(1, 4, 2, 1, 1).double()
    x[0, :, 0, 0, 0] = torch.tensor([0.0, 2.0, 0.0, 2.0])  # sigma sqrt(4 / 3)
    x[0, :, 1, 0, 0] = torch.tensor([0.0, 20.0, 0.0, 20.0])
    found = gradient(sp.PDSG(), x, torch.ones_like(x), dynamics(), 1)
    for channel, sigma in ((0, (4 / 3) ** 0.5), (1, 10 * (4 / 3) ** 0.5)):
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
        (lambda: sp.ASSG(share=0.0), "share"),
        (lambda: sp.ASSG(share=1.0), "share"),
    ],
)
def test_impossible_paths_are_refused(make, said) -> None:
    with pytest.raises(sp.UserError, match=said):
        make()


@pytest.mark.parametrize("constant", [False, True])
def test_dsr_by_hand(constant: bool) -> None:
    """IF: the mean current 0.5 lies in (0, 2), 0.9 too: 1/2 of the summed gradients, 6 and 60, shared by three steps.

    LIF, leak 0.5: weights 1/7, 2/7, 4/7; means (0.6 + 1.4 + 0.8) / 7 = 0.4 and (-0.4 + 6 + 0.4) / 7 = 6/7, inside
    (0, 1): all of 6 and 60, shared by weight. Above a threshold of 0.6, nothing.
    """
    x = X.mean(0, keepdim=True) if constant else X
    total = torch.tensor([6.0, 60.0]).double()
    shares = {1.0: [1 / 3, 1 / 3, 1 / 3], 0.5: [1 / 7, 2 / 7, 4 / 7]}
    for leak, threshold in ((1.0, 2.0), (0.5, 1.0)):
        expected = torch.tensor(shares[leak]).double().view(3, 1, 1) * total / threshold
        found = gradient(sp.DSR(), x, ONWARD, dynamics(leak, threshold, hard=False))
        torch.testing.assert_close(found, expected.sum(0, keepdim=True) if constant else expected)
    beyond = gradient(sp.DSR(), x, ONWARD, dynamics(0.5, 0.6, hard=False))  # the second mean is above the threshold
    assert torch.equal(beyond[..., 1], torch.zeros_like(beyond[..., 1]))
    assert (beyond[..., 0] > 0).all()
    assert not gradient(sp.DSR(), -x.abs(), ONWARD, dynamics(hard=False)).any()


def test_dsr_of_a_layer_that_forgets_all_is_its_last_step() -> None:
    """leak 0: weights 0, 0, 1, and currents 0.2 and 0.1 there."""
    found = gradient(sp.DSR(), X, ONWARD, dynamics(leak=0.0))
    assert torch.equal(found[:2], torch.zeros_like(found[:2]))
    assert found[2].flatten().tolist() == [6, 60]


def test_the_slope_of_dsr_is_that_of_the_rate_of_a_soft_reset() -> None:
    """Over many steps the rate of an IF neuron is its mean current over the threshold, 0 below and 1 above."""
    currents = torch.linspace(-0.5, 3.5, 41).double().view(1, 1, -1)
    rates = integrate(currents.expand(400, -1, -1), dynamics(1.0, 2.0, hard=False), sp.Triangle()).spikes.mean(0)
    torch.testing.assert_close(rates, (currents[0] / 2).clamp(0, 1), rtol=0, atol=1 / 400)
    inside = ((currents > 0) & (currents < 2)).double()
    onward = torch.full((400, 1, 41), 1 / 400).double()  # the gradient on each spike, of their mean
    found = gradient(sp.DSR(), currents, onward, dynamics(1.0, 2.0, hard=False), 400)
    torch.testing.assert_close(found, inside / 2)


def remembering(images: int, *, steps: int = 3) -> tuple[sp.SpikingNetwork, torch.Tensor]:
    """A view that follows ASSG, in double, and images for it."""
    model = firing(steps).double()
    x = torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    return sp.view(model, gradient=sp.ASSG()), x


def slope_at(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).square().sum(), x)[0]


def learn(
    model: torch.nn.Module, x: torch.Tensor, memory: Memory | None = None, *, learn: bool = True
) -> tuple[torch.Tensor, Memory]:
    """The gradient from `memory` on, and what is remembered then."""
    recall(model, memory, learn=learn)
    return slope_at(model, x), remembered(model)


class Neurons(torch.nn.Module):
    """One layer of neurons alone: currents ``[T, B, *n]``, given with the images first, and their spikes."""

    def __init__(self, path: sp.GradientPath, constants: Leaky, steps: int) -> None:
        super().__init__()
        self.gradient = path.for_layer()
        self.constants, self.steps = constants, steps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gradient.spikes(x.transpose(0, 1), self.constants, self.steps)

    def learn(self, x: torch.Tensor, onward: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """The gradient on currents ``[T, B, *n]``, and what is remembered then."""
        recall(self, memory)
        z = x.transpose(0, 1).clone().requires_grad_()
        (found,) = torch.autograd.grad(self(z), z, onward)
        return found.transpose(0, 1), remembered(self)


def test_assg_by_hand() -> None:
    """One step, threshold 1. A current of 3, u = 2: M = 0.9 + 0.2 = 1.1, D = 0.1 |2 - 1.1| = 0.09; then one of 0.5,
    u = -0.5: M = 0.99 + 0.05 = 1.04, D = 0.081 + 0.1 * 0.54 = 0.135.

    The other neuron, currents 1 and 1.2, u = 0 and 0.2: M = 0.9, D = 0.09; M = 0.83, D = 0.081 + 0.1 * 0.63 = 0.144.
    """
    neurons, memory = Neurons(sp.ASSG(share=0.5), dynamics(), 1), None
    scale = 2 * math.tan(math.pi / 4) / math.pi
    known = [([3.0, 1.0], [1.1, 0.9], [0.09, 0.09]), ([0.5, 1.2], [1.04, 0.83], [0.135, 0.144])]
    for currents, means, deviations in known:
        x, mean, deviation = (torch.tensor([[each]]).double() for each in (currents, means, deviations))
        a = scale / (mean + 1.5 * deviation + 1e-4)
        expected = (a / 2) / (1 + (math.pi / 2 * a * (x - 1)) ** 2)
        found, memory = neurons.learn(x, torch.ones(1, 1, 2).double(), memory)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(memory, ((mean - 1).view(1, 1, 2), deviation.view(1, 1, 2)))


@pytest.mark.parametrize("hard", [False, True])
def test_assg_is_bptt_with_one_slope_a_step(hard: bool) -> None:
    """Three calls of the reference, its means written out; constant currents too."""
    constants, memory = dynamics(hard=hard), None
    neurons = Neurons(sp.ASSG(), constants, 4)
    means, deviations = torch.ones(4, 2, 3).double(), torch.zeros(4, 2, 3).double()
    generator = torch.Generator().manual_seed(0)
    for steps in (4, 4, 1):
        x = torch.randn(steps, 2, 3, generator=generator).double() + 0.6
        onward = torch.randn(4, 2, 3, generator=generator).double()
        u = integrate(x.expand(4, 2, 3), constants, sp.Triangle()).potentials - 1
        means = 0.9 * means + 0.1 * u.abs()
        deviations = 0.9 * deviations + 0.1 * (u.abs() - means).abs()
        sharpness = 2 * math.tan(0.4 * math.pi) / math.pi / (means + 1.5 * deviations + 1e-4)
        z = x.clone().requires_grad_()
        spikes = integrate(z.expand(4, 2, 3), constants, [Own(a) for a in sharpness]).spikes
        (expected,) = torch.autograd.grad(spikes, z, onward)
        found, memory = neurons.learn(x, onward, memory)
        torch.testing.assert_close(found, expected)


class Own(NamedTuple):
    """The arctangent's slope, each neuron's as sharp as it is."""

    sharpness: torch.Tensor

    def derivative(self, u: torch.Tensor) -> torch.Tensor:
        return sp.ATan(alpha=1.0).derivative(self.sharpness * u) * self.sharpness


def test_the_share_bounds_what_is_expected_to_vanish() -> None:
    """Potentials that stay 0.7 above the threshold: M = 0.7, D = 0, and the slope's area up to there is the share."""
    neurons, x = Neurons(sp.ASSG(share=0.6), dynamics(), 1), torch.tensor([[[1.7]]]).double()
    memory = None
    for _ in range(300):
        slope, memory = neurons.learn(x, torch.ones(1, 1, 1).double(), memory)
    found = slope.item()
    u = torch.linspace(-0.7, 0.7, 20001).double()
    slope = sp.ATan(alpha=2 * math.tan(0.3 * math.pi) / math.pi / 0.7).derivative(u)
    assert found == pytest.approx(slope[-1].item(), rel=1e-3)  # ASSG adds 1e-4 to M
    assert torch.trapezoid(slope, u).item() == pytest.approx(0.6, abs=1e-4)


@pytest.mark.parametrize("steps", [1, 3])
def test_every_row_is_an_image_whichever_others_there_are(steps: int) -> None:
    """Kept in slots: every image sees the slopes that it sees alone, as often as it was attacked."""
    model, x = remembering(6, steps=steps)
    slots = tuple(torch.zeros_like(rows) for rows in learn(model, x)[1])
    alone: list[Memory | None] = [None] * 6
    for indices in ([0, 1, 2, 3], [0, 2, 5], [5], [1, 5], [5, 4, 3, 2, 1, 0]):
        found, memory = learn(model, x[indices], tuple(rows[indices] for rows in slots))
        for kept, rows in zip(slots, memory, strict=True):
            kept[indices] = rows
        for image, of_image in zip(indices, found, strict=True):
            expected, alone[image] = learn(model, x[image : image + 1], alone[image])
            torch.testing.assert_close(of_image, expected[0])
            assert expected.any()
    for image, memory in enumerate(alone):
        torch.testing.assert_close(tuple(rows[image : image + 1] for rows in slots), memory)


def test_rows_of_zeros_remember_nothing() -> None:
    """A row set to zero is a new image's, beside others that go on."""
    model, x = remembering(3)
    first, memory = learn(model, x)
    second, _ = learn(model, x, memory)
    for rows in memory:
        rows[1] = 0
    mixed, _ = learn(model, x, memory)
    torch.testing.assert_close(mixed, torch.stack([second[0], first[1], second[2]]))
    assert not torch.allclose(first[1], second[1])


def test_the_draws_of_one_gradient_share_their_slopes() -> None:
    """Further draws use what the first has learned, and learn nothing."""
    model, x = remembering(3)
    memory: Memory | None = None
    for other in (x.flip(0), 1 - x):
        first, memory = learn(model, x, memory)
        assert learn(model, other, memory, learn=False)[0].any()
        again, same = learn(model, x, memory, learn=False)
        assert torch.equal(again, first)
        assert all(torch.equal(rows, before) for rows, before in zip(same, memory, strict=True))
    assert not torch.equal(learn(model, x, memory)[0], first)


def test_a_view_itself_remembers_nothing() -> None:
    """Without a recall a gradient call starts from nothing and leaves nothing, whatever was recalled before."""
    model, x = remembering(3)
    assert remembered(model) == ()
    first = slope_at(model, x)
    assert torch.equal(slope_at(model, x), first)
    assert remembered(model) == ()
    found, memory = learn(model, x)
    assert torch.equal(found, first)
    assert torch.equal(slope_at(model, x), first)
    second, _ = learn(model, x, memory)
    assert not torch.equal(second, first)
    assert torch.equal(slope_at(model, 1 - x), slope_at(remembering(3)[0], 1 - x))


def test_what_asks_for_no_gradient_neither_uses_nor_changes_memory() -> None:
    model, x = remembering(3)
    expected = learn(model, x)
    recall(model, None)
    with torch.no_grad():
        model(1 - x)
    assert torch.equal(slope_at(model, x), expected[0])
    for rows, same in zip(remembered(model), expected[1], strict=True):
        assert torch.equal(rows, same)


def test_memory_is_no_part_of_a_view_or_of_a_copy() -> None:
    """Any view along the same path goes on with it; what is recalled for one is nothing to another."""
    model, x = remembering(3)
    first, memory = learn(model, x)
    second, _ = learn(model, x, memory)
    others = (sp.view(model), sp.view(model, gradient=sp.ASSG()), sp.attack_view(model), remembering(3)[0])
    for other in (*others, copy.deepcopy(model)):
        recall(model, memory)
        assert torch.equal(slope_at(other, x), first)
        assert torch.equal(slope_at(model, x), second)
        assert torch.equal(learn(other, x, memory)[0], second)
    laid_out = sp.view(model, channels_last=False)
    torch.testing.assert_close(learn(laid_out, x, memory)[0], second)


def test_a_copy_of_a_view_about_to_recall_does_so_once() -> None:
    model, x = remembering(3)
    first, memory = learn(model, x)
    recall(model, memory)
    twin = copy.deepcopy(model)
    for each in (twin, model):
        assert not torch.equal(slope_at(each, x), first)
        assert torch.equal(slope_at(each, x), first)


def test_a_memory_of_other_steps_or_images_is_no_memory() -> None:
    model, x = remembering(3)
    _, memory = learn(model, x)
    fewer = sp.view(model, steps=2)
    assert torch.equal(learn(fewer, x, memory)[0], learn(fewer, x)[0])
    assert torch.equal(learn(model, x[:2], memory)[0], learn(model, x[:2])[0])


def test_memories_inside_a_mixture_and_in_the_readout() -> None:
    """They are recalled wherever they are."""
    mixture = sp.Mixture(second=sp.ASSG())
    network = sp.Network(architecture=sp.MLP(hidden=(6,)), readout=sp.FirstSpike(), steps=3)
    model = sp.view(network.build((1, 8, 8), 5).double().eval(), gradient=mixture)
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    first, memory = learn(model, x)
    assert [rows.shape for rows in memory] == 2 * [(4, 3, 6)] + 2 * [(4, 3, 5)]
    assert not torch.equal(learn(model, x, memory)[0], first)
    assert mixture == sp.Mixture(second=sp.ASSG())  # the choice itself remembers nothing


def test_every_model_may_be_told_to_recall() -> None:
    """Whatever has no memory does not care."""
    plain = sp.Network(architecture=sp.MLP(hidden=(6,)), readout=sp.FirstSpike(), steps=3).build((1, 8, 8), 5)
    for model in (plain, sp.view(plain, gradient=sp.DSR()), torch.nn.Sequential(torch.nn.Flatten())):
        recall(model, None)
        assert model(torch.rand(2, 1, 8, 8)).shape[0] == 2
        assert remembered(model) == ()


@every_path
def test_a_gradient_never_looks_at_the_host(path: sp.GradientPath) -> None:
    """Tensors without values can be traced through it, memory included."""
    model = sp.view(firing(3), gradient=path)

    def step(x: torch.Tensor, *memory: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found, after = learn(model, x, memory)
        return found, *after

    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    memory = learn(model, x)[1]
    traced = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(x, *memory)
    assert all(map(torch.equal, traced(1 - x, *memory), step(1 - x, *memory)))


@pytest.mark.parametrize("path", [sp.ASSG(), sp.DSR()], ids=short)
def test_in_bfloat16_the_gradient_is_there_and_the_memory_is_float32(path: sp.GradientPath) -> None:
    network = firing(3)
    model = sp.view(copy.deepcopy(network).bfloat16(), gradient=path)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found, memory = learn(model, x.bfloat16())
    assert found.dtype == torch.bfloat16
    expected = slope_at(sp.view(network, gradient=path), x)
    assert torch.cosine_similarity(found.float().flatten(), expected.flatten(), dim=0) > 0.8
    assert {rows.dtype for rows in memory} <= {torch.float32}

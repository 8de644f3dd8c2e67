"""Does every neuron keep the promises of a layer without state?"""

import dataclasses
import itertools
import math

import pytest
import torch

from spikeproof.choices import UserError
from spikeproof.registry import known
from spikeproof.snn import DLIF, IF, LIF, PLIF, QCFS, ATan, GradedIF, Neuron, ReLU, Triangle
from spikeproof.snn.dynamics import integrate
from spikeproof.snn.neurons import THRESHOLD_FLOOR, GradedLayer, SpikingLayer, SpikingNeuron

NEURONS = list(known(Neuron).values())
SPIKING = [kind for kind in NEURONS if issubclass(kind, SpikingNeuron)]
every_neuron = pytest.mark.parametrize("kind", NEURONS)
PLAIN = [kind for kind in SPIKING if kind is not GradedIF]  # whose output is their spikes
every_spiking = pytest.mark.parametrize("kind", SPIKING)
every_plain = pytest.mark.parametrize("kind", PLAIN)


def currents(steps: int) -> torch.Tensor:
    return torch.randn(steps, 5, 7, generator=torch.Generator().manual_seed(0)) + 0.5


@every_neuron
@pytest.mark.parametrize("steps", [1, 4])
def test_the_same_twice_in_a_row(kind: type[Neuron], steps: int) -> None:
    layer, x = kind().layer(steps), currents(steps)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    first = layer(x)
    layer(-x)
    assert first.shape == x.shape
    assert torch.equal(layer(x), first)
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())


@every_plain
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_equal_to_the_reference(kind: type[SpikingNeuron], steps: int, reset: str) -> None:
    layer = kind(reset=reset, threshold=0.8, gradient=ATan()).layer(steps)
    x = currents(steps).requires_grad_()
    spikes, expected = layer(x), integrate(x, layer.dynamics(), ATan()).spikes
    assert torch.equal(spikes, expected)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(*(torch.autograd.grad(s, x, weights)[0] for s in (spikes, expected)))


@every_spiking
def test_a_constant_current_equals_its_copies(kind: type[SpikingNeuron]) -> None:
    layer, x = kind().layer(4), currents(1)
    assert torch.equal(layer(x), layer(x.expand(4, -1, -1).contiguous()))


@every_spiking
def test_over_one_step_the_gradient_is_the_slope(kind: type[SpikingNeuron]) -> None:
    layer, x = kind(gradient=Triangle(width=0.7)).layer(1), currents(1).requires_grad_()
    layer(x).sum().backward()
    assert torch.equal(x.grad, Triangle(width=0.7).derivative(x - 1).detach())


@every_spiking
@pytest.mark.parametrize("given", [2, 5])
def test_the_wrong_number_of_steps_is_refused(kind: type[SpikingNeuron], given: int) -> None:
    with pytest.raises(UserError, match=rf"built for 4 time steps, the input has {given}"):
        kind().layer(4)(torch.zeros(given, 1, 2))


@every_spiking
def test_what_a_layer_prints_says_how_it_was_made(kind: type[SpikingNeuron]) -> None:
    neuron = kind(reset="soft", detach_reset=True, gradient=Triangle(width=0.25))
    printed = repr(neuron.layer(6))
    assert "steps=6" in printed
    assert "soft, detached" in printed
    assert "Triangle(width=0.25)" in printed


@every_spiking
def test_only_what_is_learned_is_a_parameter(kind: type[SpikingNeuron]) -> None:
    own = {PLIF: {"leak"}, DLIF: {"gain"}}.get(kind, set())
    names = {name for name, _ in kind().layer(4).named_parameters()}
    assert names == own
    names = {name for name, _ in kind(learn_threshold=True).layer(4).named_parameters()}
    assert names == own | {"threshold"}


@every_plain
def test_a_learned_threshold_receives_the_references_gradient(kind: type[SpikingNeuron]) -> None:
    layer, x = kind(learn_threshold=True).layer(4), currents(4)
    (found,) = torch.autograd.grad(layer(x).sum(), layer.threshold)
    (expected,) = torch.autograd.grad(integrate(x, layer.dynamics(), layer.gradient).spikes.sum(), layer.threshold)
    torch.testing.assert_close(found, expected)
    assert found < 0  # a higher threshold means fewer spikes


def test_a_learned_leak_receives_the_references_gradient() -> None:
    layer, x = PLIF().layer(4), currents(4)
    (found,) = torch.autograd.grad(layer(x).sum(), layer.leak)
    (expected,) = torch.autograd.grad(integrate(x, layer.dynamics(), layer.gradient).spikes.sum(), layer.leak)
    torch.testing.assert_close(found, expected)
    assert found != 0


@every_plain
@pytest.mark.parametrize("value", [-3.0, 0.0, 0.029])
def test_a_learned_threshold_never_falls_below_its_floor(kind: type[SpikingNeuron], value: float) -> None:
    layer = kind(learn_threshold=True).layer(2)
    with torch.no_grad():
        layer.threshold.fill_(value)
    assert layer.dynamics().threshold.item() == pytest.approx(0.03) == pytest.approx(THRESHOLD_FLOOR)
    x = torch.tensor([[[0.02, 0.04]]]).expand(2, -1, -1)
    assert layer(x)[0].tolist() == [[0.0, 1.0]]


def test_a_fixed_threshold_has_no_floor() -> None:
    assert LIF(threshold=0.01).layer(1).dynamics().threshold.item() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("neuron", "leak"), [(IF(), 1.0), (LIF(leak=0.3), 0.3), (LIF(leak=0), 0.0), (PLIF(leak=0.9), 0.9)], ids=str
)
def test_the_leak_a_layer_starts_with(neuron: Neuron, leak: float) -> None:
    layer = neuron.layer(2)
    assert isinstance(layer, SpikingLayer)
    assert layer.dynamics().leak.item() == pytest.approx(leak)


@pytest.mark.parametrize(
    ("neuron", "said"),
    [
        (lambda: LIF(threshold=0), "threshold of L?IF must be a number above 0"),
        (lambda: IF(threshold=-1), "threshold of L?IF must be a number above 0"),
        (lambda: IF(threshold=math.nan), "threshold of L?IF must be a number above 0"),
        (lambda: IF(threshold=math.inf), "threshold of L?IF must be a number above 0"),
        (lambda: LIF(reset="zero"), "reset of .*IF must be 'hard' or 'soft', not 'zero'"),
        (lambda: LIF(leak=1.1).layer(2), r"leak of LIF must be a number in \[0, 1\]"),
        (lambda: LIF(leak=-0.1).layer(2), r"leak of LIF must be a number in \[0, 1\]"),
        (lambda: LIF(leak=math.nan).layer(2), r"leak of LIF must be a number in \[0, 1\]"),
        (lambda: PLIF(leak=1.0).layer(2), r"leak of PLIF must be a number in \(0, 1\)"),
        (lambda: IF(charge=1.0), r"charge of IF must be a number in \[0, 1\)"),
        (lambda: IF(charge=-0.1), "charge of .*IF must be a number"),
        (lambda: GradedIF(charge=math.nan), "charge of .*IF must be a number"),
        (lambda: GradedIF(reset="zero"), "reset of .*IF must be 'hard' or 'soft', not 'zero'"),
        (lambda: QCFS(levels=0), "levels of QCFS must be a whole number from 1 on"),
        (lambda: QCFS(bound=0.0), "bound of QCFS must be a number above 0"),
        (lambda: QCFS(bound=math.inf), "bound of QCFS must be a number above 0"),
        (lambda: QCFS(bound=math.nan), "bound of QCFS must be a number above 0"),
    ],
)
def test_impossible_neurons_are_refused(neuron: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        neuron()


def test_an_ann_has_no_neurons_that_spike() -> None:
    assert isinstance(ReLU().layer(1), torch.nn.ReLU)


def test_choices_are_equal_by_value_and_cannot_change() -> None:
    assert LIF(leak=0.25) == LIF(leak=0.25) != LIF()
    with pytest.raises(dataclasses.FrozenInstanceError):
        LIF().leak = 0.3


def test_a_charge_by_hand() -> None:
    """Threshold 1, charge 1/2, two neurons, three steps of the constant currents 0.3 and 0.8.

    u, where * fires   soft reset                  hard reset                  hard reset, no charge
    0.3                0.8, 1.1*, 0.4              0.8, 1.1*, 0.3              0.3, 0.6, 0.9
    0.8                1.3*, 1.1*, 0.9             1.3*, 0.8, 1.6*             0.8, 1.6*, 0.8
    """
    x = torch.tensor([[[0.3, 0.8]]])
    assert IF(reset="soft", charge=0.5).layer(3)(x).squeeze(1).T.tolist() == [[0, 1, 0], [1, 1, 0]]
    assert IF(reset="hard", charge=0.5).layer(3)(x).squeeze(1).T.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert IF(reset="hard").layer(3)(x).squeeze(1).T.tolist() == [[0, 0, 0], [0, 1, 0]]


def test_a_charge_leaks_before_the_first_current_comes() -> None:
    """Leak 1/2, threshold 0.8, charge 3/4: v = 0.6 before the first step, u = 0.3 + x."""
    layer = LIF(leak=0.5, threshold=0.8, charge=0.75, gradient=ATan()).layer(1)
    assert layer(torch.tensor([[[0.49, 0.51]]])).flatten().tolist() == [0, 1]
    (slope,) = torch.autograd.grad(layer(x := torch.tensor([[[0.1]]], requires_grad=True)).sum(), x)
    torch.testing.assert_close(slope, ATan().derivative(torch.tensor([[[0.3 + 0.1 - 0.8]]])))


def from_potential(layer: SpikingLayer, before: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The state of a potential before the first step, and of nothing else."""
    return before, *map(torch.zeros_like, layer.dynamics().start(before)[1:])


@every_plain
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("constant", [True, False], ids=["constant", "varying"])
def test_a_charge_is_the_potential_before_the_first_step(kind: type[SpikingNeuron], reset: str, constant: bool) -> None:
    """Equal to the reference begun at charge * threshold: spikes, and gradients on currents and what is learned."""
    layer = kind(reset=reset, threshold=0.7, charge=0.4, learn_threshold=True, gradient=ATan()).layer(4)
    x = currents(1 if constant else 4).requires_grad_()
    before = (0.4 * layer.dynamics().threshold).expand(5, 7)
    expected = integrate(x.expand(4, -1, -1), layer.dynamics(), ATan(), from_potential(layer, before)).spikes
    spikes = layer(x)
    assert torch.equal(spikes, expected)
    assert not torch.equal(spikes, kind(reset=reset, threshold=0.7).layer(4)(x))
    weights = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(1))
    learned = [x, layer.threshold, *([layer.leak] if kind is PLIF else [])]
    found, wanted = (torch.autograd.grad(s, learned, weights) for s in (spikes, expected))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    with_nothing = integrate(
        x.expand(4, -1, -1), layer.dynamics(), ATan(), from_potential(layer, before.detach())
    ).spikes
    assert not torch.allclose(found[1], torch.autograd.grad(with_nothing, layer.threshold, weights)[0])


def test_two_phases_by_hand() -> None:
    """Threshold 1, soft reset, currents 3.0, -1.0, 0.4: the mean is 0.8, and u = 0.8, 1.6*, 1.4*, in any order.

    As they come they make u = 3.0*, 1.0*, 0.4.
    """
    x = torch.tensor([3.0, -1.0, 0.4]).view(3, 1, 1)
    for order in itertools.permutations(range(3)):
        assert IF(reset="soft", two_phases=True).layer(3)(x[list(order)]).flatten().tolist() == [0, 1, 1]
    assert IF(reset="soft").layer(3)(x).flatten().tolist() == [1, 1, 0]


@every_plain
@pytest.mark.parametrize("charge", [0.0, 0.5])
def test_two_phases_are_the_mean_current_at_every_step(kind: type[SpikingNeuron], charge: float) -> None:
    """Spikes, and the gradient, which every step gets alike."""
    collects, plain = (kind(charge=charge, gradient=ATan(), two_phases=two).layer(4) for two in (True, False))
    x = currents(4).requires_grad_()
    mean = x.detach().mean(0, keepdim=True).expand(4, -1, -1).clone().requires_grad_()
    found, expected = collects(x), plain(mean)
    assert torch.equal(found, expected)
    assert not torch.equal(found, plain(x))
    weights = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(1))
    (to_x,), (to_mean,) = (torch.autograd.grad(s, i, weights) for s, i in ((found, x), (expected, mean)))
    torch.testing.assert_close(to_x, to_mean.mean(0).expand(4, -1, -1))


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("charge", [0.0, 0.5])
@pytest.mark.parametrize("steps", [1, 4])
def test_graded_spikes_are_the_references_times_the_threshold(reset: str, charge: float, steps: int) -> None:
    """In value, and in the gradient on currents and threshold, which is in the spikes and in their weight."""
    layer = GradedIF(reset=reset, threshold=0.8, charge=charge, learn_threshold=True, gradient=ATan()).layer(steps)
    assert isinstance(layer, GradedLayer)
    x, threshold = currents(steps).requires_grad_(), layer.threshold
    before = torch.full((5, 7), charge)  # in units of the threshold, as everything inside
    expected = integrate(x / threshold, layer.fire.dynamics(), ATan(), state=(before,)).spikes * threshold
    found = layer(x)
    torch.testing.assert_close(found, expected)
    assert {round(value, 5) for value in found.unique().tolist()} == {0.0, 0.8}
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    learned = [x, threshold]
    for a, b in zip(*(torch.autograd.grad(s, learned, weights) for s in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_graded_spikes_by_hand() -> None:
    """Threshold 2, soft reset, currents 1.5 at three steps: u = 1.5, 3.0 (fires), 2.5 (fires); each spike weighs 2."""
    assert GradedIF(threshold=2.0).layer(3)(torch.full((1, 1, 1), 1.5)).flatten().tolist() == [0, 2, 2]


def test_the_slope_of_graded_spikes_is_in_units_of_their_threshold() -> None:
    """A converted threshold of 8, a potential of 6: a triangle of width 1 reaches it, and 8 (1 - 2/8) / 8 = 0.75."""
    x = torch.full((1, 1, 1), 6.0, requires_grad=True)
    (slope,) = torch.autograd.grad(GradedIF(threshold=8.0).layer(1)(x).sum(), x)
    assert slope.item() == pytest.approx(0.75)
    (hidden,) = torch.autograd.grad(IF(threshold=8.0).layer(1)(x).sum(), x)
    assert hidden.item() == 0


def test_a_learned_threshold_of_graded_spikes_has_its_floor_as_their_weight_too() -> None:
    layer = GradedIF(learn_threshold=True).layer(2)
    with torch.no_grad():
        layer.threshold.fill_(-1.0)
    assert layer(torch.full((1, 1, 1), 0.04)).flatten().tolist() == pytest.approx([0.03, 0.03])


def test_qcfs_by_hand() -> None:
    """L = 4, bound 2, bound * clip(floor(2 x + 1/2) / 4, 0, 1):

    x            -1     0.2    0.3    0.9    1.6    5
    2 x + 1/2    -1.5   0.9    1.1    2.3    3.7    10.5
    output        0     0      0.5    1.0    1.5    2
    to x          0     1      1      1      1      0
    to bound      0    -0.1    0.1    0.05  -0.05   1

    Inside, the bound's gradient is (output - x) / bound, for the floor passes it straight through.
    """
    layer = QCFS(levels=4, bound=2.0).layer(1)
    x = torch.tensor([[-1.0, 0.2, 0.3, 0.9, 1.6, 5.0]], requires_grad=True)
    output = layer(x)
    torch.testing.assert_close(output, torch.tensor([[0, 0, 0.5, 1.0, 1.5, 2.0]]))
    (to_x,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
    torch.testing.assert_close(to_x, torch.tensor([[0, 1.0, 1.0, 1.0, 1.0, 0]]))
    to_bound = [torch.autograd.grad(each, layer.bound, retain_graph=True)[0].item() for each in output[0]]
    assert to_bound == pytest.approx([0, -0.1, 0.1, 0.05, -0.05, 1], abs=1e-6)


def test_the_bound_of_qcfs_is_learned_and_floored() -> None:
    layer = QCFS(levels=3).layer(1)
    assert {name: p.item() for name, p in layer.named_parameters()} == {"bound": 8.0}
    assert "levels=3" in repr(layer)
    with torch.no_grad():
        layer.bound.fill_(-2.0)
    assert layer.learned_bound().item() == pytest.approx(THRESHOLD_FLOOR)
    assert layer(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([THRESHOLD_FLOOR, 0])


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 8, 32])
@pytest.mark.parametrize("bound", [0.6, 1.0, 2.5])
def test_a_neuron_charged_by_half_is_qcfs_after_as_many_steps_as_levels(levels: int, bound: float) -> None:
    """Bu et al., ICLR 2022: the mean output of L steps of a constant current is the activation, and nothing is lost.

    So it is below 0, where it never fires, and beyond the bound, where it always does. Currents at which the
    activation jumps are left out: there the last bit decides.
    """
    x = bound * (3 * torch.rand(2000, generator=torch.Generator().manual_seed(levels)) - 1)
    place = x * levels / bound + 0.5
    x = x[(place - place.round()).abs() > 1e-3].view(1, 1, -1)
    inside = (x > 0) & (x < bound)
    assert inside.sum() > 500
    graded = GradedIF(threshold=bound, charge=0.5).layer(levels)(x).mean(0)
    plain = bound * IF(threshold=bound, reset="soft", charge=0.5).layer(levels)(x).mean(0)
    activation = QCFS(levels=levels, bound=bound).layer(1)(x[0])
    torch.testing.assert_close(graded, activation, rtol=0, atol=1e-5)
    torch.testing.assert_close(plain, activation, rtol=0, atol=1e-5)
    assert len(activation.detach().mul(1000).round().unique()) == levels + 1
    uncharged = GradedIF(threshold=bound).layer(levels)(x).mean(0)
    assert (uncharged - activation).abs().max() > 0.4 * bound / levels  # the floor without its shift

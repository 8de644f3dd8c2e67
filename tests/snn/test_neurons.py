"""Does every neuron keep the promises of a layer without state?"""

import dataclasses
import math

import pytest
import torch

from spikeproof.cli import choices
from spikeproof.snn import DLIF, IF, LIF, PLIF, ATan, Neuron, ReLU, Triangle
from spikeproof.snn.dynamics import integrate
from spikeproof.snn.neurons import THRESHOLD_FLOOR, SpikingLayer, SpikingNeuron
from spikeproof.specs import UserError

NEURONS = list(choices(Neuron).values())
SPIKING = [kind for kind in NEURONS if issubclass(kind, SpikingNeuron)]
every_neuron = pytest.mark.parametrize("kind", NEURONS)
every_spiking = pytest.mark.parametrize("kind", SPIKING)


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


@every_spiking
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


@every_spiking
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


@every_spiking
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
        (lambda: LIF(threshold=0), "threshold must be positive"),
        (lambda: IF(threshold=-1), "threshold must be positive"),
        (lambda: IF(threshold=math.nan), "threshold must be positive"),
        (lambda: IF(threshold=math.inf), "threshold must be positive"),
        (lambda: LIF(reset="zero"), "unknown reset 'zero'"),
        (lambda: LIF(leak=1.1).layer(2), "leak must lie in"),
        (lambda: LIF(leak=-0.1).layer(2), "leak must lie in"),
        (lambda: LIF(leak=math.nan).layer(2), "leak must lie in"),
        (lambda: PLIF(leak=1.0).layer(2), "learned leak"),
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

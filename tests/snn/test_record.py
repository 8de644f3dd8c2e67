"""Does a recording hold what went through the layers, and nothing else, and leave nothing behind?"""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.snn import (
    DLIF,
    IF,
    LIF,
    MLP,
    PLIF,
    QCFS,
    GradedIF,
    Network,
    Neuron,
    ReLU,
    SmallCNN,
    SpikingNetwork,
    attack_view,
    potential_perturbation,
    record,
    view,
)
from spikeproof.snn.dynamics import integrate
from spikeproof.snn.neurons import SpikingLayer


def network() -> SpikingNetwork:
    return Network(architecture=MLP(hidden=(6, 5)), neuron=PLIF(reset="soft"), steps=3).build((1, 2, 2), 3)


def images(seed: int = 0) -> Tensor:
    return 3 * torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(seed))


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def test_currents_spikes_and_potentials_of_every_layer() -> None:
    model, x = network(), images()
    with record(model) as seen:
        logits = model(x)
    layers = [m for m in model.modules() if type(m).__name__ == "LeakyLayer"]
    assert list(seen.layers.values()) == layers
    assert all(model.get_submodule(name) is layer for name, layer in seen.layers.items())
    first, second = seen.currents.values()
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    torch.testing.assert_close(first, linear[0](x.flatten(1)).unsqueeze(0))  # constant in time: [1, B, n]
    assert [s.shape for s in seen.spikes.values()] == [(3, 4, 6), (3, 4, 5)]
    assert any(s.mean() > 0 for s in seen.spikes.values())
    torch.testing.assert_close(second, linear[1](next(iter(seen.spikes.values()))))
    torch.testing.assert_close(logits, linear[2](list(seen.spikes.values())[-1]).mean(0))
    for name, layer in seen.layers.items():
        trace = integrate(seen.currents[name].expand(3, -1, -1), layer.dynamics(), layer.gradient)
        assert torch.equal(trace.spikes, seen.spikes[name])
        assert torch.equal(seen.potentials(name), trace.potentials)
        assert seen.rates()[name] == pytest.approx(trace.spikes.mean().item())


def test_what_is_recorded_carries_gradients() -> None:
    model, x = network(), images().requires_grad_()
    with record(model) as seen:
        model(x)
    for tensors in (seen.currents, seen.spikes):
        for tensor in tensors.values():
            assert torch.autograd.grad(tensor.sum(), x, retain_graph=True)[0].isfinite().all()
    loss = sum(seen.potentials(name).square().mean() for name in seen.layers)
    gradients = torch.autograd.grad(loss, list(model.parameters())[:2])
    assert all(g.abs().sum() > 0 for g in gradients)


def test_recording_changes_nothing_and_leaves_nothing() -> None:
    model, x = network(), images()
    attributes = [sorted(vars(m)) for m in model.modules()]
    expected = model(x)
    with record(model) as seen:
        assert torch.equal(model(x), expected)
    assert hooks(model) == 0
    assert [sorted(vars(m)) for m in model.modules()] == attributes
    before = dict(seen.spikes)
    model(images(1))
    assert all(seen.spikes[k] is v for k, v in before.items())


def test_nothing_is_left_after_an_error() -> None:
    model = network()
    with pytest.raises(ZeroDivisionError), record(model):
        raise ZeroDivisionError
    assert hooks(model) == 0


def test_the_last_call_counts() -> None:
    model = network()
    with record(model) as seen:
        model(images())
        model(images(1))
    with record(model) as alone:
        model(images(1))
    assert all(torch.equal(seen.spikes[k], alone.spikes[k]) for k in alone.spikes)


def test_recordings_can_be_nested() -> None:
    model = network()
    with record(model) as outer:
        model(images())
        with record(model) as inner:
            model(images(1))
        assert all(torch.equal(outer.spikes[k], inner.spikes[k]) for k in inner.spikes)
        model(images())
    assert not all(torch.equal(outer.spikes[k], inner.spikes[k]) for k in inner.spikes)


@pytest.mark.parametrize("change", [lambda m: view(m, steps=5), attack_view], ids=["view", "attack_view"])
def test_a_recording_of_a_view_does_not_hear_the_model(change: object) -> None:
    model = network()
    twin = change(model)
    with record(twin) as seen:
        twin(images())
        spikes = dict(seen.spikes)
        model(images(1))
    assert len(spikes) == 2
    assert all(seen.spikes[k] is v for k, v in spikes.items())


@pytest.mark.parametrize("change", [lambda m: view(m, steps=5), attack_view], ids=["view", "attack_view"])
def test_a_recording_of_a_model_does_not_hear_views_made_meanwhile(change: object) -> None:
    """As an objective does that records the clean pass and then attacks."""
    model = network()
    with record(model) as seen:
        model(images())
        spikes = dict(seen.spikes)
        twin = change(model)
        twin(images(1))
    assert all(seen.spikes[k] is v for k, v in spikes.items())
    assert hooks(twin) == 0


def test_a_convolutional_layer_is_recorded_in_its_shape() -> None:
    model = Network(architecture=SmallCNN(widths=(2, 3, 4)), neuron=LIF(), steps=2).build((1, 8, 8), 3)
    with record(model) as seen:
        model(torch.rand(5, 1, 8, 8))
    assert [s.shape[1:] for s in seen.spikes.values()] == [(5, 2, 8, 8), (5, 3, 8, 8), (5, 4, 4, 4)]


@pytest.mark.parametrize("neuron", [ReLU(), QCFS(bound=1.0)], ids=str)
def test_the_units_of_an_ann_have_currents_and_nothing_else(neuron: Neuron) -> None:
    """What reaches a unit is what lies before its activation: the linear layer's own answer."""
    model = Network(architecture=MLP(hidden=(6, 5)), neuron=neuron, steps=1).build((1, 2, 2), 3)
    x = images()
    with record(model) as seen:
        logits = model(x)
    unit = next(m for m in model.modules() if type(m).__name__ in ("ReLU", "ClipFloorShift"))
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    first, second = seen.currents.values()
    torch.testing.assert_close(first, linear[0](x.flatten(1)).unsqueeze(0))
    assert (first < 0).any()
    torch.testing.assert_close(second, linear[1](unit(first)))
    torch.testing.assert_close(logits, linear[2](unit(second)).squeeze(0))
    assert list(seen.currents) == [name for name, m in model.named_modules() if type(m) is type(unit)]
    assert seen.spikes == seen.layers == seen.rates() == {}
    assert hooks(model) == 0


def test_an_ann_and_its_spiking_twin_are_recorded_layer_by_layer() -> None:
    for architecture in (SmallCNN(widths=(2, 3, 4)), MLP(hidden=(6, 5))):
        shapes = []
        for neuron, steps in ((ReLU(), 1), (GradedIF(), 3)):
            model = Network(architecture=architecture, neuron=neuron, steps=steps).build((1, 8, 8), 3)
            with record(model) as seen:
                model(torch.rand(5, 1, 8, 8))
            shapes.append([currents.shape[1:] for currents in seen.currents.values()])
        assert shapes[0] == shapes[1]


def test_a_graded_layer_is_recorded_as_its_spikes() -> None:
    """The spikes are 0 and 1, potentials and currents in units of the threshold; the next layer sees 0 and 0.7."""
    neuron = GradedIF(threshold=0.7, charge=0.5)
    model = Network(architecture=MLP(hidden=(6, 5)), neuron=neuron, steps=3).build((1, 2, 2), 3)
    with record(model) as seen:
        model(images())
    first, second = seen.spikes.values()
    assert set(first.unique().tolist()) == {0.0, 1.0}
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    torch.testing.assert_close(0.7 * list(seen.currents.values())[1], linear[1](0.7 * first))
    for name, spikes in zip(seen.layers, (first, second), strict=True):
        assert torch.equal((seen.potentials(name) >= 1).float(), spikes)


def test_recorded_potentials_begin_with_the_charge() -> None:
    """Threshold 1, charge 1/2, soft reset, current 0.7: u = 1.2 (fires), 0.9, 1.6 (fires)."""
    model = nn.Sequential(IF(reset="soft", charge=0.5).layer(3))
    with record(model) as seen:
        model(torch.full((1, 1, 1), 0.7))
    assert seen.potentials("0").flatten().tolist() == pytest.approx([1.2, 0.9, 1.6])
    assert seen.spikes["0"].flatten().tolist() == [1, 0, 1]
    assert seen.currents["0"].shape == (1, 1, 1)  # the charge is no current that reaches the layer


def test_a_potential_perturbation_by_hand() -> None:
    """Leak 1/2, two neurons, three steps; resets, charge and a DLIF's gain are no part of it.

    I~ - I         (0.4, -1)   (0, 1)      (0.2, 0)
    Y              (0.4, -1)   (0.2, 0.5)  (0.3, 0.25)
    """
    layer = DLIF(leak=0.5, charge=0.25).layer(3)
    with torch.no_grad():
        layer.gain.copy_(torch.tensor([2.0, 0.5, -1.0]))
    model = nn.Sequential(layer)
    currents = torch.tensor([[[1.0, 0.2]], [[0.1, 0.3]], [[2.0, 0.0]]], requires_grad=True)
    moved_by = torch.tensor([[[0.4, -1.0]], [[0.0, 1.0]], [[0.2, 0.0]]])
    with record(model) as clean:
        model(currents)
    with record(model) as moved:
        model(currents + moved_by)
    y = potential_perturbation(clean, moved, "0")
    torch.testing.assert_close(y.squeeze(1), torch.tensor([[0.4, -1.0], [0.2, 0.5], [0.3, 0.25]]))
    (gradient,) = torch.autograd.grad(y.sum(), currents)  # the clean branch gives none: 1 + 1/2 + 1/4, 1 + 1/2, 1
    torch.testing.assert_close(gradient.squeeze(1), torch.tensor([[1.75, 1.75], [1.5, 1.5], [1.0, 1.0]]))


def test_a_constant_perturbation_goes_on_at_every_step() -> None:
    model = nn.Sequential(LIF(leak=0.5).layer(3))
    with record(model) as clean:
        model(torch.full((1, 1, 1), 0.3))
    with record(model) as moved:
        model(torch.full((1, 1, 1), 0.5))
    y = potential_perturbation(clean, moved, "0")
    assert y.shape == (3, 1, 1)
    assert y.flatten().tolist() == pytest.approx([0.2, 0.3, 0.35])


@pytest.mark.parametrize("steps", [1, 4])
def test_neurons_of_two_phases_are_moved_by_the_mean(steps: int) -> None:
    """Currents in another order move nothing; where no neuron fires, the difference is that of the potentials."""
    model = Network(architecture=MLP(hidden=(6,)), neuron=IF(threshold=1e3, two_phases=True), steps=4).build(
        (1, 2, 2), 3
    )
    layer = next(module for module in model.modules() if isinstance(module, SpikingLayer))
    x = torch.randn(steps, 5, 6, generator=torch.Generator().manual_seed(0))
    seen = []
    for currents in (x, x.flip(0), x + torch.arange(5.0).view(-1, 1)):
        with record(layer) as inside:
            layer(currents)
        seen.append(inside)
    clean, turned, more = seen
    (name,) = clean.currents
    torch.testing.assert_close(potential_perturbation(clean, turned, name), torch.zeros(4, 5, 6), atol=1e-6, rtol=0)
    expected = more.potentials(name) - clean.potentials(name)
    torch.testing.assert_close(potential_perturbation(clean, more, name), expected, atol=1e-4, rtol=0)

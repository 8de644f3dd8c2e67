"""Do neurons with more states than a potential follow their equations, and everything that a network may be asked?"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import spikeproof as sp
from spikeproof.choices import short
from spikeproof.registry import known
from spikeproof.snn import recall, remembered
from spikeproof.snn.dynamics import integrate
from spikeproof.snn.neurons import SpikingLayer

NEURONS = (sp.SynapticLIF(threshold=0.2), sp.AdaptiveLIF(threshold=0.2, strength=0.1))
every_neuron = pytest.mark.parametrize("neuron", NEURONS, ids=short)
PATHS = [kind() for kind in known(sp.GradientPath).values()]
FOR_LEAKY = (sp.RGA(), sp.DSR(), sp.AsANN(clipped=True), sp.Mixture(second=sp.RGA()))


def currents(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double() * 0.7 + 0.3


def network(neuron: sp.Neuron, steps: int = 4) -> sp.SpikingNetwork:
    choice = sp.Network(architecture=sp.SmallCNN(widths=(4, 5, 6)), neuron=neuron, steps=steps)
    return choice.build((1, 8, 8), 5).double().eval()


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def gradient(model: torch.nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).square().sum(), x)[0]


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_synaptic_by_hand(reset: str) -> None:
    """Leaks 0.5 and 0.25, threshold 1: i = 0.8, 0.6, 0.35, 1.0875; u = 0.8, 1.0 (fires), 0.35, 1.2625 (fires).

    The potential is reset to 0, by either rule, after the second step.
    """
    layer = sp.SynapticLIF(leak=0.5, synapse_leak=0.25, reset=reset).layer(4).double()
    x = torch.tensor([0.8, 0.4, 0.2, 1.0]).double().view(4, 1, 1)
    trace = integrate(x, layer.dynamics(), sp.Triangle())
    torch.testing.assert_close(trace.potentials.flatten(), torch.tensor([0.8, 1.0, 0.35, 1.2625]).double())
    assert trace.spikes.flatten().tolist() == [0, 1, 0, 1]
    assert torch.equal(layer(x), trace.spikes)
    torch.testing.assert_close(trace.last[1].item(), 1.0875)
    assert trace.last[0].item() == pytest.approx(0.0 if reset == "hard" else 0.2625)


@pytest.mark.parametrize(("reset", "third"), [("hard", 0.9), ("soft", 0.9 + 0.5 * 0.1)])
def test_adaptive_by_hand(reset: str, third: float) -> None:
    """Threshold 1, strength 0.4, decay 0.5, leak 0.5. It fires at u = 1.1, and a = 1: the threshold is 1.4, and u = 1.3
    does not reach it; a = 0.5, 0.25 after that."""
    neuron = sp.AdaptiveLIF(leak=0.5, strength=0.4, decay=0.5, reset=reset)
    layer = neuron.layer(3).double()
    second = 1.3 - (0.05 if reset == "soft" else 0)  # so that u[1] is 1.3
    x = torch.tensor([1.1, second, 0.25]).double().view(3, 1, 1)
    trace = integrate(x, layer.dynamics(), sp.Triangle())
    assert trace.spikes.flatten().tolist() == [1, 0, 0]
    torch.testing.assert_close(trace.potentials.flatten(), torch.tensor([1.1, 1.3, 0.9]).double())
    torch.testing.assert_close(trace.distances.flatten(), torch.tensor([0.1, -0.1, 0.9 - 1.2]).double())
    assert trace.last[1].item() == 0.25
    assert torch.equal(layer(x), trace.spikes)


def test_an_adaptive_soft_reset_subtracts_the_risen_threshold() -> None:
    layer = sp.AdaptiveLIF(leak=1.0, strength=0.5, decay=1.0, reset="soft").layer(2).double()
    trace = integrate(torch.tensor([1.0, 2.0]).double().view(2, 1, 1), layer.dynamics(), sp.Triangle())
    assert trace.spikes.flatten().tolist() == [1, 1]
    assert trace.last[0].item() == 0.5  # 2 - (1 + 0.5 * 1)


def test_without_what_is_new_both_are_lif() -> None:
    """Spikes and gradients; learned thresholds too."""
    x = currents(4, 5, 7).requires_grad_()
    onward = currents(4, 5, 7, seed=1)
    for reset in ("hard", "soft"):
        for detached in (False, True):
            options = {"reset": reset, "detach_reset": detached, "threshold": 0.8, "learn_threshold": True}
            layers = [
                neuron.layer(4).double()
                for neuron in (
                    sp.LIF(**options, charge=0.3),
                    sp.SynapticLIF(**options, charge=0.3, synapse_leak=0.0),
                    sp.AdaptiveLIF(**options, charge=0.3, strength=0.0),
                )
            ]
            expected, *found = [torch.autograd.grad(layer(x), [x, layer.threshold], onward) for layer in layers]
            for each in found:
                torch.testing.assert_close(each, expected)


def test_synaptic_is_snntorchs() -> None:
    """Without a leak, where subtracting one step late is subtracting at once; the gradient of its reset is detached."""
    snntorch = pytest.importorskip("snntorch")
    x = (currents(8, 16, 8) * 0.5).float().requires_grad_()
    theirs = snntorch.Synaptic(alpha=0.6, beta=1.0, reset_mechanism="subtract", spike_grad=snntorch.surrogate.atan(2.0))
    synapse, potential = torch.zeros_like(x[0]), torch.zeros_like(x[0])
    spikes = []
    for current in x:
        spike, synapse, potential = theirs(current, synapse, potential)
        spikes.append(spike)
    expected = torch.stack(spikes)
    neuron = sp.SynapticLIF(leak=1.0, synapse_leak=0.6, reset="soft", detach_reset=True, gradient=sp.ATan(alpha=2.0))
    found = neuron.layer(8)(x)
    assert 0.1 < expected.mean() < 0.9
    assert torch.equal(found, expected)
    onward = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (torch.autograd.grad(each, x, onward)[0] for each in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@every_neuron
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_stream_in_pieces_equals_the_whole(neuron: sp.StatefulNeuron, reset: str) -> None:
    x, dynamics = currents(9, 5, 3), type(neuron)(reset=reset).layer(9).double().dynamics()
    whole, state, spikes = integrate(x, dynamics, sp.Triangle()), None, []
    for piece in x.split([1, 4, 2, 2]):
        part = integrate(piece, dynamics, sp.Triangle(), state)
        state = part.last
        spikes.append(part.spikes)
    assert 0 < whole.spikes.mean() < 1
    assert torch.equal(torch.cat(spikes), whole.spikes)
    assert all(map(torch.equal, state, whole.last))


@every_neuron
def test_a_detached_reset_has_the_same_spikes_and_another_gradient(neuron: sp.StatefulNeuron) -> None:
    x, onward = currents(5, 4, 3).requires_grad_(), currents(5, 4, 3, seed=1)
    whole, detached = (type(neuron)(detach_reset=each).layer(5).double()(x) for each in (False, True))
    assert torch.equal(whole, detached)
    one, other = (torch.autograd.grad(spikes, x, onward)[0] for spikes in (whole, detached))
    assert not torch.allclose(one, other)


def second(neuron: sp.Neuron) -> Tensor:
    """A second derivative of the spikes, along random directions."""
    x, onward = currents(4, 5, 7).requires_grad_(), currents(4, 5, 7, seed=1)
    (first,) = torch.autograd.grad(neuron.layer(4).double()(x), x, onward, create_graph=True)
    return torch.autograd.grad((first * currents(4, 5, 7, seed=2)).sum(), x)[0]


def test_second_derivatives_are_those_of_lif_without_what_is_new() -> None:
    slope = sp.Sigmoid(alpha=1.0)
    expected = second(sp.LIF(gradient=slope))
    torch.testing.assert_close(second(sp.SynapticLIF(gradient=slope, synapse_leak=0.0)), expected)
    torch.testing.assert_close(second(sp.AdaptiveLIF(gradient=slope, strength=0.0)), expected)
    for neuron in (sp.SynapticLIF(gradient=slope), sp.AdaptiveLIF(gradient=slope)):
        found = second(neuron)
        assert found.isfinite().all()
        assert not torch.allclose(found, expected)


@every_neuron
@pytest.mark.parametrize("path", PATHS, ids=short)
def test_every_path_that_can_follow_does(neuron: sp.StatefulNeuron, path: sp.GradientPath) -> None:
    """The logits stay, bit for bit; there is a gradient."""
    model, x = network(neuron), images()
    with sp.record(model) as inside:
        expected = model(x)
    assert all(0 < rate < 1 for rate in inside.rates().values())
    if not sp.can_follow(model, path):
        assert short(path) in [short(known) for known in FOR_LEAKY]
        return
    view = sp.view(model, gradient=path)
    assert torch.equal(view(x), expected)
    found = gradient(view, x)
    assert found.isfinite().all()
    assert found.any()


@every_neuron
def test_paths_derived_for_leaky_neurons_are_refused(neuron: sp.StatefulNeuron) -> None:
    model = network(neuron)
    for path in FOR_LEAKY:
        assert not sp.can_follow(model, path)
        assert sp.can_follow(network(sp.LIF()), path)
        with pytest.raises(sp.UserError, match="derived for leaky"):
            sp.view(model, gradient=path)
        with pytest.raises(sp.UserError, match="derived for leaky"):
            network(replace(neuron, gradient=path))


@every_neuron
def test_assg_follows_and_remembers_row_by_row(neuron: sp.StatefulNeuron) -> None:
    """What LIF's fused kernels do, done by the reference: each image as if it were alone."""
    model, x = sp.view(network(neuron), gradient=sp.ASSG()), images()
    recall(model, None)
    first, memory = gradient(model, x), remembered(model)
    recall(model, memory)
    second = gradient(model, x)
    assert not torch.equal(first, second)
    for image in range(3):
        recall(model, tuple(rows[image : image + 1] for rows in memory))
        torch.testing.assert_close(gradient(model, x[image : image + 1]), second[image : image + 1])


def test_the_reference_of_assg_is_that_of_the_kernel() -> None:
    lif, synaptic = network(sp.LIF(threshold=0.2)), network(sp.SynapticLIF(threshold=0.2, synapse_leak=0.0))
    synaptic.load_state_dict(lif.state_dict(), strict=False)
    memory = None
    for _ in range(3):
        found = []
        for model in (sp.view(each, gradient=sp.ASSG()) for each in (lif, synaptic)):
            recall(model, memory)
            found.append((gradient(model, images()), remembered(model)))
        torch.testing.assert_close(*found)
        memory = found[0][1]


@every_neuron
def test_what_is_recorded_is_what_happened(neuron: sp.StatefulNeuron) -> None:
    model, x = network(neuron), images()
    with sp.record(model) as inside:
        model(x)
    assert len(inside.layers) == 3
    for name in inside.layers:
        fired = (inside.distances(name) >= 0).double()
        assert torch.equal(fired, inside.spikes[name])
        assert inside.potentials(name).shape == fired.shape
    with sp.record(model) as moved:
        model(1 - x)
    name = next(iter(inside.layers))
    assert sp.potential_perturbation(inside, moved, name).any()


@every_neuron
def test_views_change_steps_and_share_weights(neuron: sp.StatefulNeuron) -> None:
    model, x = network(neuron), images()
    longer = sp.view(model, steps=7)
    assert {layer.steps for layer in longer.modules() if isinstance(layer, SpikingLayer)} == {7}
    assert not torch.equal(longer(x), model(x))
    assert all(map(torch.equal, longer.parameters(), model.parameters()))
    torch.testing.assert_close(sp.attack_view(model)(x), model(x))


@every_neuron
def test_a_twin_has_rates_of_lasting_currents(neuron: sp.StatefulNeuron) -> None:
    layer = neuron.layer(4).double()
    x = currents(1, 4, 3)
    expected = x.clamp(min=0) / 0.2 * (2 if isinstance(neuron, sp.SynapticLIF) else 1)
    torch.testing.assert_close(sp.ann_twin(torch.nn.Sequential(layer))(x), expected)


@every_neuron
def test_a_conversion_refuses_them(neuron: sp.StatefulNeuron) -> None:
    """Its thresholds are those of a current that is integrated as it is."""
    kind = sp.Network(architecture=sp.MLP(hidden=(6,)), neuron=sp.ReLU(), steps=1)
    ann = kind.build((1, 8, 8), 5).eval()
    spiking = sp.Network(architecture=sp.MLP(hidden=(6,)), neuron=neuron, steps=4)
    for conversion in (sp.Calibration(), sp.ThresholdBalancing(), sp.LearnedBounds()):
        with pytest.raises(sp.UserError, match=r"neuron: (IF|GradedIF)"):
            sp.convert(ann, spiking, torch.rand(4, 1, 8, 8), conversion)


@every_neuron
def test_their_weights_are_trained(neuron: sp.StatefulNeuron) -> None:
    model = network(neuron)
    model(images()).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sp.SynapticLIF(leak=1.1), "leak"),
        (lambda: sp.SynapticLIF(synapse_leak=1.0), "synapse_leak"),
        (lambda: sp.AdaptiveLIF(leak=-0.1), "leak"),
        (lambda: sp.AdaptiveLIF(strength=-1), "strength"),
        (lambda: sp.AdaptiveLIF(decay=1.5), "decay"),
        (lambda: sp.AdaptiveLIF(threshold=0), "threshold"),
    ],
)
def test_impossible_neurons_are_refused(make, said) -> None:
    with pytest.raises(sp.UserError, match=said):
        make()

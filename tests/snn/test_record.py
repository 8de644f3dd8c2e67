"""Does a recording hold what went through the layers, and nothing else, and leave nothing behind?"""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.snn import LIF, MLP, PLIF, Network, SmallCNN, SpikingNetwork, attack_view, record, view
from spikeproof.snn.dynamics import integrate


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
    layers = [m for m in model.modules() if type(m).__name__ == "SpikingLayer"]
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

"""Does a view share what it says, change what it names, and leave its model alone?"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_architectures import SHAPE, SMALL, images, randomise_norms
from torch import nn

from spikeproof.choices import UserError, short
from spikeproof.snn import (
    DLIF,
    IF,
    LIF,
    MLP,
    PLIF,
    RSC,
    AdaptiveLIF,
    Architecture,
    ATan,
    Direct,
    Encoder,
    FirstSpike,
    GradedIF,
    LastPotential,
    Latency,
    MeanCurrent,
    Network,
    Neuron,
    Poisson,
    Readout,
    ReLU,
    SmallCNN,
    SpikingNetwork,
    StraightThrough,
    Triangle,
    WideResNet,
    ann_twin,
    attack_view,
    view,
)
from spikeproof.snn.neurons import SpikingNeuron

Snapshot = dict[str, Any]


def network(neuron: Neuron = PLIF(threshold=0.3, learn_threshold=True), **choices: object) -> SpikingNetwork:
    return Network(architecture=SmallCNN(widths=(4, 6, 8)), neuron=neuron, **choices).build(SHAPE, 5)


def snapshot(model: nn.Module) -> Snapshot:
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "storage": {k: v.data_ptr() for k, v in model.state_dict().items()},
        "training": {k: m.training for k, m in model.named_modules()},
        "wanted": {k: p.requires_grad for k, p in model.named_parameters()},
        "grad": {k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()},
        "modules": [(k, id(m), sorted(vars(m))) for k, m in model.named_modules()],
        "choices": [(k, str(vars(m).get("gradient")), vars(m).get("steps")) for k, m in model.named_modules()],
    }


def assert_unchanged(model: nn.Module, before: Snapshot) -> None:
    now = snapshot(model)
    for part in ("storage", "training", "wanted", "modules", "choices"):
        assert now[part] == before[part], part
    for part in ("state", "grad"):
        assert now[part].keys() == before[part].keys()
        for name, tensor in before[part].items():
            assert (now[part][name] is None) if tensor is None else torch.equal(now[part][name], tensor), name


def mixed_modes(model: nn.Module) -> None:
    """A state that a careless view would not restore: some modules training, some frozen, gradients there."""
    model(images(4, *SHAPE)).sum().backward()
    model.train()
    for module in list(model.modules())[::3]:
        module.training = False
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad_(False)


@pytest.mark.parametrize("architecture", SMALL, ids=short)
@pytest.mark.parametrize(
    "neuron",
    [LIF(threshold=0.2, detach_reset=True, gradient=ATan()), PLIF(threshold=0.2, detach_reset=True), ReLU()],
    ids=short,
)
def test_the_attack_view_is_the_same_function(architecture: Architecture, neuron: Neuron) -> None:
    steps = 1 if isinstance(neuron, ReLU) else 3
    model = Network(architecture=architecture, neuron=neuron, steps=steps).build(SHAPE, 5, mean=(0.4, 0.6))
    model = model.double()
    randomise_norms(model)
    model.eval()
    attacked = attack_view(model)
    x, z = (images(4, *SHAPE).double().requires_grad_() for _ in range(2))
    torch.testing.assert_close(attacked(z), model(x), rtol=1e-9, atol=1e-9)
    weights = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (attacked(z) * weights).sum().backward()
    (model(x) * weights).sum().backward()
    assert x.grad.abs().sum() > 0
    torch.testing.assert_close(z.grad, x.grad, rtol=1e-7, atol=1e-9)


def test_the_attack_view_folds_batch_norms_away() -> None:
    assert not any(isinstance(m, nn.BatchNorm2d) for m in attack_view(network()).modules())
    flat = Network(architecture=MLP(hidden=(5,), norm=True)).build(SHAPE, 3)
    assert not any(isinstance(m, nn.BatchNorm1d) for m in attack_view(flat).modules())
    norms = [m for m in attack_view(network_with_norms_first()).modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)  # a norm before the convolution stays, in eval mode


def network_with_norms_first() -> SpikingNetwork:
    return Network(architecture=WideResNet(widths=(4, 6, 8), blocks=(1, 1, 1))).build(SHAPE, 5)


@pytest.mark.parametrize("make", [network, network_with_norms_first])
def test_the_attack_view_leaves_its_model_as_it_was(make: Callable[[], SpikingNetwork]) -> None:
    model = make()
    mixed_modes(model)
    before = snapshot(model)
    attacked = attack_view(model)
    x = images(4, *SHAPE).requires_grad_()
    attacked(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert_unchanged(model, before)
    assert not any(m.training for m in attacked.modules())


def test_the_attack_view_wants_no_gradient_but_the_images() -> None:
    attacked = attack_view(network())
    assert not any(p.requires_grad for p in attacked.parameters())
    assert not attacked(images(2, *SHAPE)).requires_grad
    assert attacked(images(2, *SHAPE).requires_grad_()).requires_grad


def test_an_attack_view_of_an_attack_view_and_of_a_wrapped_network() -> None:
    model, x = network().eval(), images(4, *SHAPE)
    torch.testing.assert_close(attack_view(attack_view(model))(x), model(x), rtol=1e-4, atol=1e-5)
    wrapped = nn.Sequential(nn.Identity(), model)
    torch.testing.assert_close(attack_view(wrapped)(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_model_from_outside_is_returned_as_it_is() -> None:
    stranger = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2))
    assert attack_view(stranger) is stranger


def test_a_view_shares_all_tensors() -> None:
    model = network()
    twin = view(model, gradient=ATan())
    assert twin is not model
    shared = {k: v.data_ptr() for k, v in model.state_dict().items()}
    assert {k: v.data_ptr() for k, v in twin.state_dict().items()} == shared
    assert [id(p) for p in twin.parameters()] == [id(p) for p in model.parameters()]
    assert not {id(m) for m in twin.modules()} & {id(m) for m in model.modules()}


def test_training_a_view_trains_its_model() -> None:
    model, x = network(), images(8, *SHAPE)
    twin = view(model, gradient=ATan())
    before = copy.deepcopy(model)
    optimiser = torch.optim.SGD(twin.parameters(), lr=0.1)
    twin(x).square().sum().backward()
    optimiser.step()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before.get_parameter(name)), name
    assert torch.equal(twin.eval()(x), model.eval()(x))  # the running statistics are shared too


def test_another_gradient_changes_the_backward_alone() -> None:
    model = network().eval()
    twin = view(model, gradient=StraightThrough())
    x, z = (images(4, *SHAPE).requires_grad_() for _ in range(2))
    logits, same = model(x), twin(z)
    assert torch.equal(logits, same)
    logits.square().sum().backward()
    same.square().sum().backward()
    assert not torch.allclose(x.grad, z.grad)
    again = images(4, *SHAPE).requires_grad_()
    model(again).square().sum().backward()
    assert torch.equal(again.grad, x.grad)


@pytest.mark.parametrize("neuron", [LIF, GradedIF, AdaptiveLIF], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("readout", [MeanCurrent(), FirstSpike()], ids=short)
def test_no_gradient_of_an_attack_flows_through_a_reset_unless_its_path_says_so(
    neuron: type[SpikingNeuron], readout: Readout
) -> None:
    """That of a network whose neurons detach the reset in training too is the same."""

    def made(detached: bool) -> SpikingNetwork:
        torch.manual_seed(0)
        own = replace(readout, detach_reset=detached) if isinstance(readout, FirstSpike) else readout
        return network(neuron(threshold=0.3, detach_reset=detached), readout=own).double().eval()

    def slope(model: nn.Module) -> torch.Tensor:
        x = images(4, *SHAPE).double().requires_grad_()
        (found,) = torch.autograd.grad(model(x).square().sum(), x)
        return found

    through, detached = made(False), made(True)
    assert not torch.allclose(slope(through), slope(detached))
    torch.testing.assert_close(slope(attack_view(through)), slope(detached))
    along = view(attack_view(detached), gradient=Triangle(detach_reset=False))
    torch.testing.assert_close(slope(along), slope(through))
    torch.testing.assert_close(slope(view(attack_view(through), gradient=Triangle())), slope(detached))


def test_a_view_leaves_its_model_as_it_was() -> None:
    model = network(channels_last=False)
    mixed_modes(model)
    before = snapshot(model)
    view(model, gradient=ATan(), steps=2, encoder=Latency(), channels_last=True)(images(2, *SHAPE))
    view(model).eval()
    assert_unchanged(model, before | {"state": snapshot(model)["state"]})  # running statistics are shared
    assert_unchanged_choices(model)


def assert_unchanged_choices(model: SpikingNetwork) -> None:
    assert model.steps == 4
    assert model.encoder != Latency()
    assert model.memory_format == torch.contiguous_format
    assert all(m.weight.is_contiguous() for m in model.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_other_steps_equal_a_network_built_for_them(steps: int) -> None:
    model, x = network().eval(), images(4, *SHAPE)
    built = network(steps=steps).eval()
    built.load_state_dict(model.state_dict())
    assert torch.equal(view(model, steps=steps)(x), built(x))


@pytest.mark.parametrize("channels_last", [False, True])
def test_another_layout_is_the_same_function(channels_last: bool) -> None:
    model, x = network(channels_last=not channels_last).double().eval(), images(4, *SHAPE).double()
    twin = view(model, channels_last=channels_last)
    torch.testing.assert_close(twin(x), model(x))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert all(m.weight.is_contiguous(memory_format=layout) for m in twin.modules() if isinstance(m, nn.Conv2d))


def test_an_encoder_can_be_exchanged() -> None:
    model, x = network().eval(), images(4, *SHAPE)
    built = network(encoder=Latency()).eval()
    built.load_state_dict(model.state_dict())
    assert torch.equal(view(model, encoder=Latency())(x), built(x))


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps: int) -> None:
    with pytest.raises(UserError, match=f"steps must be at least 1, not {steps}"):
        view(network(), steps=steps)


def test_a_view_of_a_body_without_batch_norm() -> None:
    model = Network(architecture=MLP(hidden=(5,))).build(SHAPE, 3)
    assert torch.equal(attack_view(model)(images(2, *SHAPE)), model(images(2, *SHAPE)))


def test_an_attack_view_gives_the_very_same_logits_in_float32(trained: SpikingNetwork, digits: tuple) -> None:
    """Bit for bit: what an attacker finds at a threshold must not look different to the evaluator."""
    x = digits[2][:50]
    assert trained(x).abs().max() > 1
    assert torch.equal(attack_view(trained)(x), trained(x))


def hidden_and_output(model: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    first, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    return first, last


@pytest.mark.parametrize("clipped", [False, True])
def test_the_twin_is_an_ann_over_the_same_weights(clipped: bool) -> None:
    """max(0, x / threshold), or cut to [0, 1] and rounded to quarters, between the two linear layers."""
    neuron = LIF(threshold=0.3, reset="soft")
    model = Network(architecture=MLP(hidden=(40,)), neuron=neuron, steps=4).build(SHAPE, 5, mean=(0.4, 0.6)).double()
    first, last = hidden_and_output(model)
    x = images(6, *SHAPE).double()
    rate = (first((x - torch.tensor([0.4, 0.6]).view(2, 1, 1)).flatten(1)) / 0.3).clamp(min=0)
    if clipped:
        rate = (4 * rate.clamp(max=1)).add(0.5).floor() / 4
        assert len(rate.unique()) == 5
    torch.testing.assert_close(ann_twin(model, clipped=clipped)(x), last(rate))


def test_the_twin_of_a_convolutional_network_is_the_network_of_relus() -> None:
    model = network(LIF(), steps=3)
    randomise_norms(model)
    relus = network(ReLU(), steps=1)
    relus.load_state_dict(model.state_dict(), strict=False)
    x = images(4, *SHAPE)
    torch.testing.assert_close(ann_twin(model.eval())(x), relus.eval()(x))
    torch.testing.assert_close(ann_twin(attack_view(model))(x), relus(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_the_clipped_unit_is_the_rate_of_a_charged_integrator(steps: int) -> None:
    """IF with soft reset and half a threshold to begin with, at constant currents, between the ties of its rounding."""
    threshold = 0.3
    currents = torch.linspace(-0.2, 0.6, 403).double()
    whole = currents * steps / threshold + 0.5
    currents = currents[(whole - whole.round()).abs() > 1e-6]
    neuron = IF(threshold=threshold, reset="soft", charge=0.5)
    layer = neuron.layer(steps).double()
    rate = layer(currents.view(1, 1, -1)).mean(0)
    twin = ann_twin(nn.Sequential(layer), clipped=True)
    torch.testing.assert_close(twin(currents.view(1, 1, -1))[0], rate)
    assert len(rate.unique()) == steps + 1


def test_the_clipped_unit_answers_straight_through() -> None:
    twin = ann_twin(nn.Sequential(IF(threshold=0.5).layer(4)), clipped=True)
    x = torch.tensor([-0.1, 0.1, 0.3, 0.7]).view(1, 1, 4).requires_grad_()
    twin(x).sum().backward()
    assert x.grad.flatten().tolist() == [0, 2, 2, 0]  # 1 / threshold inside


@pytest.mark.parametrize("encoder", [Direct(), Latency(), Poisson(), RSC(sigma=0.1)], ids=short)
@pytest.mark.parametrize("readout", [MeanCurrent(), LastPotential(), FirstSpike()], ids=short)
def test_the_twin_sees_the_image_once_and_answers_at_once(encoder: Encoder, readout: Readout) -> None:
    """A code of spikes needs time, and the twin has one step: it gets the image, normalised. Noise stays."""
    model = network(encoder=encoder, readout=readout).eval()
    plain = network().eval()
    plain.load_state_dict(model.state_dict())
    x = images(4, *SHAPE)
    twin = ann_twin(model)
    assert twin.stochastic is isinstance(encoder, RSC)
    if not twin.stochastic:
        assert torch.equal(twin(x), ann_twin(plain)(x))
    else:
        assert torch.equal(view(twin, encoder=Direct())(x), ann_twin(plain)(x))
        assert not torch.equal(twin(x), twin(x))


@pytest.mark.parametrize("clipped", [False, True])
def test_the_twin_of_graded_spikes_is_in_their_units(clipped: bool) -> None:
    """Spikes that weigh the threshold: max(0, x) whatever it is, or cut to it."""
    twin = ann_twin(nn.Sequential(GradedIF(threshold=0.4).layer(4)), clipped=clipped)
    found = twin(torch.tensor([-1.0, 0.1, 0.26, 3.0]).view(1, 1, 4)).flatten().tolist()
    assert found == pytest.approx([0, 0.1, 0.3, 0.4] if clipped else [0, 0.1, 0.26, 3.0])


def test_the_twin_of_a_gain_has_its_mean() -> None:
    layer = DLIF(threshold=0.5).layer(2)
    with torch.no_grad():
        layer.gain.copy_(torch.tensor([1.0, 2.0]))
    assert ann_twin(nn.Sequential(layer))(torch.tensor([[[0.2]]])).item() == pytest.approx(1.5 * 0.2 / 0.5)


def test_learned_thresholds_are_those_of_the_neurons() -> None:
    """Floored, and shared: what trains the one changes the other."""
    layer = PLIF(threshold=0.5, learn_threshold=True).layer(4)
    twin, x = ann_twin(nn.Sequential(layer)), torch.full((1, 1, 1), 0.03)
    with torch.no_grad():
        layer.threshold.fill_(0.1)
        assert twin(x).item() == pytest.approx(0.3)
        layer.threshold.fill_(-5.0)
        assert twin(x).item() == pytest.approx(1.0)


def test_the_twin_leaves_its_model_as_it_was_and_shares_its_tensors() -> None:
    model = network()
    mixed_modes(model)
    before = snapshot(model)
    twin, x = ann_twin(model, clipped=True), images(2, *SHAPE).requires_grad_()
    (slope,) = torch.autograd.grad(twin.eval()(x).square().sum(), x)
    assert slope.any()
    assert_unchanged(model, before)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in model.parameters()}


def test_the_twin_of_a_twin_and_of_what_has_no_spikes() -> None:
    model, x = network().eval(), images(4, *SHAPE)
    for clipped in (False, True):
        expected = ann_twin(model, clipped=clipped)(x)
        assert torch.equal(ann_twin(ann_twin(model), clipped=clipped)(x), expected)
        assert torch.equal(ann_twin(ann_twin(model, clipped=True), clipped=clipped)(x), expected)
    relus = network(ReLU(), steps=1).eval()
    stranger = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3))
    assert torch.equal(ann_twin(relus)(x), relus(x))
    assert torch.equal(ann_twin(stranger)(x), stranger(x))
    inside = nn.Sequential(nn.Identity(), model)
    assert torch.equal(ann_twin(inside)(x), ann_twin(model)(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, while it traces
def test_a_compiled_network_is_viewed_and_stays_whole() -> None:
    """The wrapper of `torch.compile` hands out its network's own dictionaries: a view must not write into them."""
    model = Network(architecture=MLP(hidden=(8,)), steps=2).build((1, 4, 4), 3).eval()
    compiled, x = torch.compile(model, backend="eager"), torch.rand(5, 1, 4, 4)
    expected = compiled(x)
    for seen in (view(compiled, gradient=ATan()), attack_view(compiled)):
        assert isinstance(seen, SpikingNetwork)
        torch.testing.assert_close(seen(x), expected)
    assert torch.equal(compiled(x), expected)


@pytest.mark.parametrize("gradient", ["ATan", ATan])
def test_a_gradient_path_is_an_object_and_neither_name_nor_class(gradient: Any) -> None:
    with pytest.raises(UserError, match=r"gradient must be a gradient path, ATan\(\) for example, not "):
        view(nn.Linear(2, 2), gradient=gradient)

"""Is a body the same function whether its layers are called one by one or several as one kernel?"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from test_architectures import SHAPE, images, randomise_norms
from torch import Tensor, nn

import spikeproof
from spikeproof.choices import short
from spikeproof.snn import (
    DLIF,
    IF,
    LIF,
    PLIF,
    VGG,
    AdaptiveLIF,
    Architecture,
    GradedIF,
    GradientPath,
    Network,
    Neuron,
    ReLU,
    Slope,
    SmallCNN,
    SpikingNetwork,
    Triangle,
    WideResNet,
    attack_view,
    bodies,
    compiling,
    joined,
    kernels,
    record,
    view,
)
from spikeproof.snn.layers import MeanPool, Norm
from spikeproof.snn.neurons import neuron_layers
from spikeproof.snn.paths import RatePath

BODIES = [
    SmallCNN(widths=(4, 6, 8)),
    VGG(stages=((4,), (5, 6), (6,)), hidden=(7,)),
    WideResNet(widths=(16, 6, 8), blocks=(1, 2, 2)),  # no shortcut in its first block: x is constant in time there
]
PATHS = [
    kind()
    for name in spikeproof.snn.__all__
    if isinstance(kind := getattr(spikeproof.snn, name), type)
    and issubclass(kind, GradientPath)
    and kind not in (GradientPath, Slope, RatePath)
]
NEURONS = [
    IF(),
    LIF(reset="soft"),
    LIF(detach_reset=True),
    PLIF(threshold=0.3, learn_threshold=True),
    IF(charge=0.5, reset="soft"),
    DLIF(),
    GradedIF(threshold=0.4),
    LIF(threshold=0.3, two_phases=True),
    AdaptiveLIF(threshold=0.3),
    ReLU(),
]
architectures = pytest.mark.parametrize("architecture", BODIES, ids=lambda a: type(a).__name__)


@pytest.fixture(autouse=True)
def fused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything is worth a kernel, and none is compiled; the names of the functions that would be."""
    called: list[str] = []

    def eager(function: Callable[..., Any], plan: Any) -> Callable[..., Any]:
        called.append(function.__module__.split(".")[-1] + function.__name__ + "_pooled" * ("pooled=True" in str(plan)))
        return partial(function, plan)

    for module in (kernels, joined):
        monkeypatch.setattr(module, "worthwhile", lambda elements, steps, device: True)
    monkeypatch.setattr(compiling, "_compiled", eager)
    return called


def network(
    architecture: Architecture, neuron: Neuron = LIF(threshold=0.3), steps: int | None = None
) -> SpikingNetwork:
    steps = 1 if isinstance(neuron, ReLU) else steps or 3
    model = Network(architecture=architecture, neuron=neuron, steps=steps).build(SHAPE, 5, mean=(0.4, 0.6)).double()
    randomise_norms(model)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.5)
    return model.eval()


def one_by_one(model: nn.Module) -> nn.Module:
    """A view whose layers are called one by one: somebody watches."""
    twin = view(model)
    for module in twin.modules():
        if isinstance(module, MeanPool | Norm):
            module.register_forward_hook(lambda *_: None)
    return twin


def answers(model: nn.Module, count: int = 4) -> tuple[Tensor, Tensor]:
    x = images(count, *SHAPE).double().requires_grad_()
    logits = model(x)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return logits.detach(), torch.autograd.grad(logits, x, weights)[0]


def assert_the_same(one: nn.Module, other: nn.Module) -> None:
    for a, b in zip(answers(one), answers(other), strict=True):
        assert b.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@architectures
@pytest.mark.parametrize("path", PATHS, ids=short)
def test_along_every_path(architecture: Architecture, path: GradientPath) -> None:
    attacked = attack_view(network(architecture))
    assert_the_same(view(attacked, gradient=path), one_by_one(view(attacked, gradient=path)))


@architectures
@pytest.mark.parametrize("neuron", NEURONS, ids=short)
def test_of_every_kind_of_neuron(architecture: Architecture, neuron: Neuron) -> None:
    model = network(architecture, neuron)
    for each in (attack_view(model), model):
        assert_the_same(each, one_by_one(each))


@architectures
@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("layout", [True, False], ids=["channels_last", "contiguous"])
def test_of_every_length_and_layout(architecture: Architecture, steps: int, layout: bool) -> None:
    attacked = view(attack_view(network(architecture, steps=steps)), channels_last=layout)
    assert_the_same(attacked, one_by_one(attacked))


def test_an_attack_view_runs_what_is_named_after_it(fused: list[str]) -> None:
    """Without this, all tests here could compare the layers one by one with themselves."""
    answers(attack_view(network(BODIES[0])))
    assert fused.count("kernels_forward_pooled") == 2
    assert "joined_forward" not in fused
    fused.clear()
    answers(attack_view(network(BODIES[2])))
    assert fused.count("joined_forward") == fused.count("joined_backward") == 5  # the first norm has no join before it


def test_constants_that_want_gradients_get_them(fused: list[str]) -> None:
    """A network in eval mode that is no attack view: fine-tuning with frozen statistics, for example."""
    model = network(BODIES[2], PLIF())
    model(images(4, *SHAPE).double()).sum().backward()
    assert not any(name.startswith("joined") for name in fused)
    wanted = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is not None and g.abs().sum() > 0 for name, g in wanted.items() if "0.first" in name or "join" in name)
    with torch.no_grad():
        model(images(4, *SHAPE).double())
    assert fused.count("joined_forward") == 5


def test_training_pools_in_the_kernel_and_learns_the_same(fused: list[str]) -> None:
    """Leak and threshold too: their gradients come through the pooling."""
    model = network(BODIES[0], PLIF(threshold=0.3, learn_threshold=True)).train()
    found = []
    for each in (model, one_by_one(model)):
        loss = each(images(4, *SHAPE).double()).square().sum()
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    assert fused.count("kernels_forward_pooled") == 2
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@architectures
def test_a_recording_sees_every_layer_and_changes_nothing(architecture: Architecture, fused: list[str]) -> None:
    attacked, x = attack_view(network(architecture)), images(4, *SHAPE).double()
    expected = attacked(x)
    with record(attacked) as seen:
        torch.testing.assert_close(attacked(x), expected)
    assert list(seen.spikes) == list(neuron_layers(attacked))
    for name, spikes in seen.spikes.items():
        assert spikes.shape[-2:] == seen.currents[name].shape[-2:]  # not pooled
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}
        assert torch.equal((seen.distances(name) >= 0).double(), spikes)
    fused.clear()
    attacked(x)
    assert any("pooled" in name or "joined" in name for name in fused)  # nobody looks any more


def test_a_subclass_with_a_call_of_its_own_is_called(fused: list[str]) -> None:
    class Louder(type(next(iter(neuron_layers(network(BODIES[0])).values())))):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    for architecture in (BODIES[0], BODIES[2]):
        model, x = attack_view(network(architecture)), images(4, *SHAPE).double()
        for layer in neuron_layers(model).values():
            layer.__class__ = Louder
        fused.clear()
        found = model(x)
        assert not any("pooled" in name or "joined" in name for name in fused)
        torch.testing.assert_close(found, one_by_one(model)(x))


@architectures
def test_in_bfloat16_spikes_are_bfloat16_and_potentials_are_not(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[torch.dtype]] = {"spikes": set(), "potentials": set()}
    plain = kernels.course

    def watched(currents: list[Tensor], *rest: Any) -> list[kernels.Moment]:
        moments = plain(currents, *rest)
        seen["potentials"] |= {moment.u.dtype for moment in moments}
        return moments

    def eager(function: Callable[..., Any], plan: Any) -> Callable[..., Any]:
        def call(*tensors: Tensor) -> Any:
            found = function(plan, *tensors)
            first = found if isinstance(found, Tensor) else found[0]
            seen["spikes"].add(first.dtype)
            return found

        return call

    for module in (kernels, joined):
        monkeypatch.setattr(module, "course", watched)
    monkeypatch.setattr(compiling, "_compiled", eager)
    attacked, x = attack_view(network(architecture).float()), images(4, *SHAPE).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        logits = attacked(x)
    (slope,) = torch.autograd.grad(logits.float().sum(), x)
    assert slope.dtype == torch.float32
    assert slope.abs().sum() > 0
    assert seen == {"spikes": {torch.bfloat16}, "potentials": {torch.float32}}


def test_a_norm_is_held_by_the_attack_view_alone() -> None:
    model = network(BODIES[2])
    attacked = attack_view(model)
    norms = [m for m in attacked.modules() if isinstance(m, Norm)]
    assert len(norms) == 6
    with torch.no_grad():
        before = norms[0].affine().clone()
        for module in model.modules():
            if isinstance(module, Norm):
                module[0].weight.mul_(2)
    assert torch.equal(norms[0].affine(), before)
    other = next(m for m in model.modules() if isinstance(m, Norm))
    torch.testing.assert_close(other.affine()[0], 2 * before[0])
    assert not any("held" in name for name in attacked.state_dict())
    assert not any("held" in name for name in model.state_dict())
    assert view(attacked).body[1].first[0].affine() is norms[0].affine()
    assert norms[0].float().affine().dtype == torch.float32  # it moves with its module


def test_a_view_of_another_length_still_agrees() -> None:
    longer = view(attack_view(network(BODIES[2])), steps=5, gradient=Triangle(width=0.7))
    assert_the_same(longer, one_by_one(longer))
    assert {layer.steps for layer in neuron_layers(longer).values()} == {5}


@pytest.mark.parametrize("shape", [(2, 9, 9), (2, 10, 9)])
def test_odd_images_are_pooled_as_torch_does(shape: tuple[int, int, int]) -> None:
    model = Network(architecture=SmallCNN(widths=(4, 6, 8)), neuron=LIF(threshold=0.2), steps=3).build(shape, 5)
    model = attack_view(model.double().eval())
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(model(x), one_by_one(model)(x))


def test_a_layer_of_the_wrong_length_is_refused() -> None:
    model = attack_view(network(BODIES[2]))
    next(iter(neuron_layers(model).values())).steps = 7
    with pytest.raises(spikeproof.choices.UserError, match="time steps"):
        model(images(2, *SHAPE).double())


def test_nothing_is_fused_below_the_size_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(bodies, "joined_spikes", lambda *_: pytest.fail("a kernel for a few neurons"))
    monkeypatch.setattr(kernels, "fused_spikes", plain_fused)
    for architecture in BODIES:
        attack_view(network(architecture))(images(2, *SHAPE).double())


def plain_fused(*arguments: Any, pooled: bool = False) -> Tensor:
    assert not pooled, "a kernel for a few neurons"
    return PLAIN(*arguments)


PLAIN = kernels.fused_spikes


@pytest.mark.parametrize("architecture", BODIES[:2], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("neuron", [LIF(threshold=0.3, two_phases=True), GradedIF(threshold=0.4, two_phases=True)])
def test_what_lies_before_neurons_of_two_phases_is_computed_once(architecture: Architecture, neuron: Neuron) -> None:
    """In eval mode, where nobody watches; a batch norm that trains has to see every step."""
    model, steps = network(architecture, neuron).eval(), []
    convolve = nn.Conv2d._conv_forward

    def counted(self: nn.Conv2d, x: Tensor, *args: Any) -> Tensor:
        steps.append(len(x) / 4)
        return convolve(self, x, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Conv2d, "_conv_forward", counted)
        x = torch.rand(4, *SHAPE, dtype=torch.float64)
        quick = model(x)
        assert set(steps) == {1.0}
        steps.clear()
        with record(model):
            slow = model(x)
        assert set(steps) == {1.0, 3.0}  # the first layer sees a constant current
        steps.clear()
        model.train()(x)
        assert set(steps) == {1.0, 3.0}
    torch.testing.assert_close(quick, slow)

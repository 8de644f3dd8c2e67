"""Does every body build, for spikes and for ReLU, with the layers that its paper counts?"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import spikeproof.snn
from spikeproof.choices import UserError, short
from spikeproof.registry import known
from spikeproof.snn import (
    LIF,
    MLP,
    VGG,
    Architecture,
    ATan,
    Direct,
    Encoder,
    Latency,
    Network,
    Poisson,
    ReLU,
    SEWResNet,
    SmallCNN,
    SpikingNetwork,
    SpikingResNet,
    WideResNet,
    view,
)

SMALL = [
    MLP(hidden=(12, 9)),
    MLP(hidden=(12,), norm=True),
    SmallCNN(widths=(4, 6, 8)),
    VGG(stages=((4,), (6, 5)), hidden=(10,)),
    VGG(stages=((4,), (6,), ()), hidden=(), dropout=0.5),
    SpikingResNet(widths=(4, 6), blocks=(2, 1)),
    SEWResNet(widths=(4, 6), blocks=(2, 1)),
    SEWResNet(depth=50, widths=(4, 6), blocks=(1, 1)),
    WideResNet(widths=(4, 6, 8), blocks=(1, 2, 1)),
    WideResNet(widths=(16, 6, 8), blocks=(1, 1, 1)),  # the first block keeps its width: an identity shortcut
]
SMALL += [kind() for kind in known(Architecture).values() if kind not in {type(architecture) for architecture in SMALL}]
every_architecture = pytest.mark.parametrize("architecture", SMALL, ids=short)
SHAPE = (2, 8, 8)


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def parameters(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> int:
    chosen = [m for m in model.modules() if isinstance(m, kind)]
    return sum(p.numel() for p in {id(p): p for m in chosen for p in m.parameters()}.values())


@every_architecture
@pytest.mark.parametrize("neuron", [LIF(threshold=0.2, gradient=ATan()), ReLU()], ids=["snn", "ann"])
def test_logits_and_a_gradient_on_every_parameter(architecture: Architecture, neuron: object) -> None:
    steps = 1 if isinstance(neuron, ReLU) else 3
    model = Network(architecture=architecture, neuron=neuron, steps=steps).build(SHAPE, 5)
    logits = model(images(6, *SHAPE))
    assert logits.shape == (6, 5)
    weights = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    (logits * weights).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_architecture
def test_the_memory_layout_changes_nothing(architecture: Architecture) -> None:
    build = dict(architecture=architecture, neuron=LIF(threshold=0.2), steps=3)
    plain = Network(**build, channels_last=False).build(SHAPE, 5).double().eval()
    other = Network(**build, channels_last=True).build(SHAPE, 5).double().eval()
    x = images(4, *SHAPE).double()
    logits = plain(x)
    assert not torch.equal(logits[0], logits[1])
    torch.testing.assert_close(other(x), logits, rtol=1e-9, atol=1e-9)


@every_architecture
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_ann_has_the_gradient_of_finite_differences(architecture: Architecture, channels_last: bool) -> None:
    """Through every layer but the neurons, whose gradient is a surrogate: also where it is written by hand."""
    network = Network(architecture=architecture, neuron=ReLU(), steps=1, channels_last=channels_last)
    model = network.build(SHAPE, 5, std=(0.3, 0.5)).double()
    randomise_norms(model)
    model.eval()
    x = images(2, *SHAPE).double().requires_grad_()
    assert torch.autograd.gradcheck(model, x, fast_mode=True)


@dataclass(frozen=True, kw_only=True)
class Copies(Encoder):
    """What `Direct` saves: the image, at every step anew."""

    normalised: ClassVar[bool] = True

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        return x.expand(steps, *x.shape).contiguous()


@every_architecture
def test_computing_the_constant_part_once_changes_nothing(architecture: Architecture) -> None:
    model = (
        Network(architecture=architecture, neuron=LIF(threshold=0.2), steps=3)
        .build(SHAPE, 5, mean=(0.4, 0.6), std=(0.2, 0.3))
        .double()
    )
    randomise_norms(model)
    model.eval()
    once, every_time = (images(4, *SHAPE).double().requires_grad_() for _ in range(2))
    logits, expected = model(once), view(model, encoder=Copies())(every_time)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    logits.exp().sum().backward()
    expected.exp().sum().backward()
    assert once.grad.abs().sum() > 0
    torch.testing.assert_close(once.grad, every_time.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("readout", ["LastPotential", "FirstSpike", "MeanCurrent"])
def test_a_body_without_neurons_is_still_read_out_over_all_steps(readout: str) -> None:
    network = Network(architecture=MLP(hidden=()), readout=getattr(spikeproof.snn, readout)(), steps=3)
    model, x = network.build(SHAPE, 5).double(), images(4, *SHAPE).double()
    torch.testing.assert_close(model(x), view(model, encoder=Copies())(x))


def randomise_norms(model: nn.Module) -> None:
    """Batch norms as after a training: nothing at its default."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.2, 1.5),
                (module.weight.data, 0.5, 2.0),
                (module.bias.data, -0.2, 0.8),
            ):
                drawn = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(low + (high - low) * drawn)


def test_vgg11_by_hand() -> None:
    model = Network(architecture=VGG(hidden=(30,))).build((3, 32, 32), 10)
    widths = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == widths[1:]
    assert parameters(model, nn.Conv2d) == 9 * sum(a * b for a, b in pairwise(widths))
    assert parameters(model, nn.BatchNorm2d) == 2 * sum(widths[1:])
    assert parameters(model, nn.Linear) == 512 * 4 * 4 * 30 + 30 + 30 * 10 + 10  # 32 pooled three times


def test_wide_resnet_16_4_by_hand() -> None:
    """2.75 million, as its paper says; and two weights for each of the six places where branches meet."""
    total = 3 * 16 * 9
    for a, b in ((16, 64), (64, 128), (128, 256)):
        total += 2 * a + 9 * a * b + 2 * b + 9 * b * b + a * b  # BN, conv, BN, conv, 1x1 shortcut
        total += 2 * (2 * b + 9 * b * b)
    total += 2 * 256 + 256 * 10 + 10
    assert total == 2_748_890
    model = Network(architecture=WideResNet()).build((3, 32, 32), 10)
    assert parameters(model) == total + 2 * 6


@pytest.mark.parametrize(
    ("architecture", "published"),
    [
        (SpikingResNet(), 11_173_962),  # ResNet-18 for CIFAR-10, with convolutions as shortcuts
        (SEWResNet(), 11_173_962),  # the same layers; only the order of sum and neuron differs
        (SpikingResNet(depth=20), 272_474),  # ResNet-20 (0.27 M)
    ],
    ids=str,
)
def test_residual_networks_count_as_published(architecture: Architecture, published: int) -> None:
    assert parameters(Network(architecture=architecture).build((3, 32, 32), 10)) == published


def test_stages_can_be_set_one_by_one() -> None:
    model = Network(architecture=WideResNet(widths=(8, 10, 3), blocks=(1, 1, 2))).build((3, 8, 8), 4)
    last = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert [m.in_features for m in last] == [3]
    assert model(images(2, 3, 8, 8)).shape == (2, 4)
    with pytest.raises(ValueError, match="zip"):
        Network(architecture=SpikingResNet(widths=(4, 6), blocks=(1,))).build((3, 8, 8), 4)


def test_large_images_meet_the_imagenet_stem() -> None:
    model = Network(architecture=SEWResNet(widths=(4, 6), blocks=(1, 1)), steps=2).build((3, 66, 66), 4)
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    assert (first.kernel_size, first.stride) == ((7, 7), (2, 2))
    assert model(images(1, 3, 66, 66)).shape == (1, 4)


@pytest.mark.parametrize("side", [8, 9, 11])
@every_architecture
def test_sides_that_pooling_does_not_divide(architecture: Architecture, side: int) -> None:
    model = Network(architecture=architecture, steps=2).build((1, side, side + 1), 3).eval()
    assert model(images(2, 1, side, side + 1)).shape == (2, 3)


@pytest.mark.parametrize(
    ("architecture", "side"),
    [(SmallCNN(), 3), (VGG(), 7), (VGG(depth=16), 15), (SpikingResNet(), 7), (SEWResNet(), 7), (WideResNet(), 3)],
    ids=str,
)
def test_images_too_small_for_the_pooling_are_refused(architecture: Architecture, side: int) -> None:
    with pytest.raises(UserError, match=rf"needs images of at least {side + 1}x{side + 1} pixels, not 32x{side}"):
        Network(architecture=architecture).build((3, 32, side), 10)


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        (VGG(depth=13), "no depth 13: there are 5, 11, 16"),
        (SpikingResNet(depth=19), "no depth 19"),
        (SEWResNet(depth=20), "no depth 20"),
        (WideResNet(depth=17), "6 n \\+ 4"),
    ],
    ids=str,
)
def test_unknown_depths_are_refused(architecture: Architecture, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Network(architecture=architecture).build((3, 32, 32), 10)


def test_dropping_everything_is_refused() -> None:
    with pytest.raises(UserError, match=r"dropout of VGG must be a number in \[0, 1\), not 1.0"):
        VGG(dropout=1.0)


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 2, 8, 9), (2, 8, 8), (4, 3, 2, 8, 8)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    model = Network(architecture=SmallCNN(widths=(2, 2, 2))).build(SHAPE, 3)
    with pytest.raises(UserError, match=r"\[B, 2, 8, 8\]"):
        model(images(*shape))


@pytest.mark.parametrize("encoder", [Direct(), Poisson(), Latency()], ids=str)
def test_only_what_is_no_spike_is_normalised(encoder: Encoder) -> None:
    seen: list[Tensor] = []
    model = Network(architecture=MLP(hidden=(4,)), encoder=encoder, steps=4).build((1, 2, 2), 3, mean=(0.5,), std=(2,))
    model.body.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(torch.full((1, 1, 2, 2), 1.0))
    values = set(seen[0].unique().tolist())
    assert values == ({0.25} if encoder.normalised else {1.0} if isinstance(encoder, Poisson) else {0.0, 1.0})


def test_a_network_says_whether_it_draws_noise() -> None:
    def build(encoder: Encoder) -> SpikingNetwork:
        return Network(architecture=MLP(hidden=(4,)), encoder=encoder).build((1, 2, 2), 3)

    assert build(Poisson()).stochastic
    assert not build(Direct()).stochastic
    assert view(build(Direct()), encoder=Poisson()).stochastic

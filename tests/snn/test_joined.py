"""Do join, norm and neuron in one kernel, or a neuron and its pooling, equal the layers one by one? (Uncompiled.)"""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from test_kernels import LAYOUTS, channels_last, contiguous, detaching, resets, slopes
from torch import Tensor

from spikeproof.snn import ATan, Slope, Triangle
from spikeproof.snn.dynamics import Leaky, integrate
from spikeproof.snn.joined import joined_spikes
from spikeproof.snn.kernels import fused_spikes
from spikeproof.snn.layers import mean_pool
from spikeproof.snn.paths import OwnATan

B, C, H, W = 3, 5, 4, 6
PASTS = ("constant", "varying")


def tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def dynamics(hard_reset: bool, detach_reset: bool) -> Leaky:
    return Leaky(torch.tensor(0.7).double(), torch.tensor(0.4).double(), hard_reset, detach_reset)


def constants(neuron: Leaky) -> Tensor:
    scale, shift = 0.5 + tensor(C, seed=7).abs(), 0.3 * tensor(C, seed=8)
    scalars = torch.stack([torch.tensor(0.6).double(), torch.tensor(0.3).double(), neuron.leak, neuron.threshold])
    rows = scalars.unsqueeze(1).expand(4, C)
    return torch.cat([rows[:2], scale[None], shift[None], rows[2:]])


def one_by_one(x: Tensor, past: Tensor, neuron: Leaky, slope: Slope, steps: int) -> tuple[Tensor, Tensor]:
    """What `joined_spikes` is, as its docstring says it."""
    a, b, scale, shift = (row.view(-1, *[1] * (x.ndim - 3)) for row in constants(neuron)[:4])
    y = a * x + b * past
    currents = (scale * y + shift).expand(steps, *x.shape[1:])
    return integrate(currents, neuron, slope).spikes, y


def branches(steps: int, past: str, layout: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    x = layout(tensor(steps, B, C, H, W)).detach().requires_grad_()
    return x, layout(tensor(1 if past == "constant" else steps, B, C, H, W, seed=1)).detach().requires_grad_()


def gradients(outputs: tuple[Tensor, ...], inputs: tuple[Tensor, ...], **options: bool) -> tuple[Tensor, ...]:
    weights = [tensor(*each.shape, seed=3 + k) for k, each in enumerate(outputs)]
    return torch.autograd.grad(outputs, inputs, weights, **options)


def cases() -> Iterator[tuple[int, str, Callable[[Tensor], Tensor], bool]]:
    layouts = [each for each in LAYOUTS if each.__name__ not in ("sliced", "expanded")]  # these are for 2x3 images
    yield from itertools.product((1, 4), PASTS, layouts, (False, True))


@slopes
@resets
@detaching
def test_equal_to_the_layers_one_by_one(slope: Slope, hard_reset: bool, detach_reset: bool) -> None:
    neuron = dynamics(hard_reset, detach_reset)
    for steps, past, layout, onward in cases():
        inputs = branches(steps, past, layout)
        found, expected = (
            joined_spikes(*inputs, constants(neuron), neuron, slope, steps),
            one_by_one(*inputs, neuron, slope, steps),
        )
        case = f"{steps} steps, past {past}, {layout.__name__}, y goes on: {onward}"
        assert 0.05 < expected[0].mean() < 0.95
        assert torch.equal(found[0], expected[0]), case
        torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=1e-12)
        assert found[0].stride()[1:] == inputs[0].stride()[1:], case
        parts = slice(2) if onward else slice(1)
        for a, b in zip(gradients(found[parts], inputs), gradients(expected[parts], inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11, msg=lambda m, c=case: f"{c}: {m}")


def test_y_alone_has_a_gradient() -> None:
    """Where nothing follows the spikes."""
    neuron, inputs = dynamics(hard_reset=True, detach_reset=False), branches(4, "varying", channels_last)
    _, y = joined_spikes(*inputs, constants(neuron), neuron, Triangle(), 4)
    _, expected = one_by_one(*inputs, neuron, Triangle(), 4)
    for a, b in zip(gradients((y,), inputs), gradients((expected,), inputs), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("slope", [Triangle(), ATan()], ids=str)
@resets
def test_second_derivatives(slope: Slope, hard_reset: bool, past: str) -> None:
    neuron, inputs = dynamics(hard_reset, detach_reset=False), branches(3, past, channels_last)

    def second(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first = gradients(outputs, inputs, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), inputs, allow_unused=True, materialize_grads=True)

    found = second(joined_spikes(*inputs, constants(neuron), neuron, slope, 3))
    for a, b in zip(found, second(one_by_one(*inputs, neuron, slope, 3)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
        assert a.abs().sum() > 0


@pytest.mark.parametrize("past", PASTS)
def test_the_backward_keeps_one_tensor_of_currents(past: str) -> None:
    saved: dict[int, Tensor] = {}
    neuron, inputs = dynamics(hard_reset=True, detach_reset=False), branches(4, past, contiguous)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.update({t.data_ptr(): t}), t)[1], lambda t: t):
        joined_spikes(*inputs, constants(neuron), neuron, Triangle(), 4)
    assert sum(t.numel() for t in saved.values()) == 4 * B * C * H * W + 6 * C


@slopes
@resets
@detaching
def test_pooled_spikes_equal_pooling_the_spikes(slope: Slope, hard_reset: bool, detach_reset: bool) -> None:
    """The forward is exact: sums of four spikes are."""
    neuron = Leaky(
        *(t.requires_grad_() for t in (torch.tensor(0.7).double(), torch.tensor(0.4).double())),
        hard_reset,
        detach_reset,
    )
    for steps, constant, layout in itertools.product((1, 4), (False, True), (contiguous, channels_last, transposed)):
        x = layout(tensor(1 if constant else steps, B, C, H, W)).detach().requires_grad_()
        found = fused_spikes(x, neuron, slope, steps, pooled=True)
        expected = mean_pool(integrate(x.expand(steps, *x.shape[1:]), neuron, slope).spikes)
        case = f"{steps} steps, constant {constant}, {layout.__name__}"
        assert torch.equal(found, expected), case
        if layout is not transposed:
            assert found.stride() == layout(found.clone()).stride(), case
        inputs = (x, neuron.leak, neuron.threshold)
        wanted = gradients((expected,), inputs, allow_unused=True, materialize_grads=True)
        for a, b in zip(gradients((found,), inputs), wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda m, c=case: f"{c}: {m}")


def transposed(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).contiguous().transpose(-1, -2)


@pytest.mark.parametrize("layout", [contiguous, channels_last])
def test_pooled_spikes_of_a_sharpness_of_their_own(layout: Callable[[Tensor], Tensor]) -> None:
    neuron = dynamics(hard_reset=True, detach_reset=False)
    x, sharpness = (layout(tensor(4, B, C, H, W, seed=k)).detach() for k in (0, 1))
    x.requires_grad_()
    found = fused_spikes(x, neuron, OwnATan(), 4, sharpness.abs(), pooled=True)
    expected = mean_pool(fused_spikes(x, neuron, OwnATan(), 4, sharpness.abs()))
    assert torch.equal(found, expected)
    torch.testing.assert_close(*(gradients((each,), (x,))[0] for each in (found, expected)))


def test_second_derivatives_of_pooled_spikes() -> None:
    neuron, x = dynamics(hard_reset=True, detach_reset=False), tensor(3, B, C, H, W).requires_grad_()

    def second(spikes: Tensor) -> Tensor:
        (first,) = gradients((spikes,), (x,), create_graph=True)
        return torch.autograd.grad((first**2).sum(), x)[0]

    found = second(fused_spikes(x, neuron, ATan(), 3, pooled=True))
    torch.testing.assert_close(found, second(mean_pool(integrate(x, neuron, ATan()).spikes)))
    assert found.abs().sum() > 0

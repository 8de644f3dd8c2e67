"""Do the layers between the neurons show outside what they compute?"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeproof.snn import LIF, MLP, Network, SEWResNet, SmallCNN, SpikingResNet, WideResNet, attack_view
from spikeproof.snn.layers import Pointwise, conv


def seen(model: nn.Module, x: Tensor) -> list[tuple[str, torch.Size, Tensor]]:
    """Every call of a convolution or linear layer that a hook on it sees: its name, input and output."""
    calls: list[tuple[str, torch.Size, Tensor]] = []

    def hook(name: str) -> Any:
        return lambda _, inputs, output: calls.append((name, inputs[0].shape, output))

    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers]
    model(x)
    for handle in handles:
        handle.remove()
    assert {name for name, *_ in calls} == {name for name, _ in layers}
    return calls


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize(
    "architecture",
    [MLP(hidden=(6,), norm=True), SmallCNN(widths=(4, 5, 6)), SpikingResNet(), SEWResNet(), WideResNet()],
    ids=lambda a: type(a).__name__,
)
def test_hooks_see_every_convolution_and_linear_layer(architecture: Any, training: bool) -> None:
    """Counters of operations hang on them; each is called once, in whatever mode, and in an attack view."""
    model = Network(architecture=architecture, neuron=LIF(), steps=2).build((3, 16, 16), 5).train(training)
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    calls = seen(model, x)
    assert len(calls) == len({name for name, *_ in calls})
    if not training:
        folded = seen(attack_view(model), x)
        assert [(shape, out.shape) for _, shape, out in folded] == [(shape, out.shape) for _, shape, out in calls]
        assert all(torch.equal(a, b) for (*_, a), (*_, b) in zip(calls, folded, strict=True))


@pytest.mark.parametrize("kernel", [1, 3])
def test_what_a_hook_sees_in_eval_mode_is_what_follows(kernel: int) -> None:
    """The norm is in the weights by then: the output is the block's own."""
    block, x = conv(3, 4, kernel, stride=2), torch.randn(2, 3, 3, 7, 8)
    for _ in range(3):
        block(x)
    block.eval()
    ((_, shape, output),) = seen(block, x)
    assert shape == (6, 3, 7, 8)
    assert torch.equal(output.unflatten(0, (2, 3)), block(x))
    weight, bias = block.folded()
    expected = nn.functional.conv2d(x.flatten(0, 1), weight, bias, stride=2, padding=kernel // 2)
    torch.testing.assert_close(output, expected)
    assert block[0].bias is None


def test_a_strided_pointwise_convolution_sees_its_whole_input() -> None:
    layer, x = Pointwise(3, 4, 2), torch.randn(2, 3, 7, 8)
    ((_, shape, output),) = seen(nn.Sequential(layer), x)
    assert shape == x.shape
    torch.testing.assert_close(output, nn.functional.conv2d(x, layer.weight, stride=2))

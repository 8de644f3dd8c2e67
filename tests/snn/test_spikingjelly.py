"""Oracle: does SpikingJelly, asked for the same neuron, give the same spikes and gradients?"""

import pytest
import torch
from torch import Tensor

from spikeproof.snn import IF, LIF, ATan, Neuron, Sigmoid, Slope

neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

STEPS = 8


def theirs(leaky: bool, reset: str, detached: bool, slope: object) -> torch.nn.Module:
    settings = dict(
        v_threshold=1.0,
        v_reset=0.0 if reset == "hard" else None,
        surrogate_function=slope,
        detach_reset=detached,
        step_mode="m",
    )
    return neuron.LIFNode(tau=2.0, decay_input=False, **settings) if leaky else neuron.IFNode(**settings)


@pytest.mark.parametrize("detached", [False, True], ids=["through", "detached"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("leaky", [True, False], ids=["LIF", "IF"])
@pytest.mark.parametrize(
    ("slope", "their_slope"),
    [  # both libraries mean the same by alpha
        (ATan(alpha=2.0), lambda: surrogate.ATan(alpha=2.0)),
        (ATan(alpha=3.0), lambda: surrogate.ATan(alpha=3.0)),
        (Sigmoid(alpha=4.0), lambda: surrogate.Sigmoid(alpha=4.0)),
    ],
    ids=["ATan 2", "ATan 3", "Sigmoid 4"],
)
def test_spikes_and_gradients(slope: Slope, their_slope: object, leaky: bool, reset: str, detached: bool) -> None:
    kind: type[Neuron] = LIF if leaky else IF
    layer = kind(reset=reset, detach_reset=detached, gradient=slope).layer(STEPS)
    other = theirs(leaky, reset, detached, their_slope())
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(STEPS, 16, 8, generator=generator, dtype=torch.float64) + 0.4).requires_grad_()
    weights = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    spikes, expected = layer(x), other(x)
    assert 0.1 < expected.mean() < 0.9
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(gradient(spikes, x, weights), gradient(expected, x, weights), rtol=1e-9, atol=1e-12)


def gradient(spikes: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    return torch.autograd.grad(spikes, x, weights)[0]


def test_the_potential_equal_to_the_threshold_fires_there_too() -> None:
    x = torch.tensor([[0.5], [0.75], [0.25]])
    assert torch.equal(LIF().layer(3)(x), theirs(True, "hard", False, surrogate.ATan())(x))

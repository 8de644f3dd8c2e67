"""Oracle: does snnTorch's `Leaky` give the same spikes and gradients, where it means the same neuron?

It fires above the threshold, not at it; currents drawn at random do not hit it. Its default resets one step late,
from the last potential, and detached:

- "zero": (1 - s[t-1]) u[t-1], then the leak. The same neuron, with a detached reset.
- "subtract": leak u[t-1] + x[t] - threshold s[t-1]. It subtracts after the leak, we before it: another neuron but
  for a leak of 1, where the two agree.

With `reset_delay=False` it resets at once, before the leak, and the gradient flows through the reset: the same
neuron, as long as no potential stays above the threshold after a reset (it would be reset a second time).
"""

import pytest
import torch
from torch import Tensor

from spikeproof.snn import LIF, ATan, Sigmoid, Slope

snntorch = pytest.importorskip("snntorch")

STEPS = 8
OURS = {"zero": "hard", "subtract": "soft"}
slopes = pytest.mark.parametrize(
    ("slope", "theirs"),
    [
        (ATan(alpha=2.0), lambda: snntorch.surrogate.atan(alpha=2.0)),
        (Sigmoid(alpha=5.0), lambda: snntorch.surrogate.sigmoid(slope=5.0)),
    ],
    ids=["ATan", "Sigmoid"],
)


def run(leaky: torch.nn.Module, x: Tensor) -> Tensor:
    potential, spikes = torch.zeros_like(x[0]), []
    for current in x:
        spike, potential = leaky(current, potential)
        spikes.append(spike)
    return torch.stack(spikes)


def currents(low: float, high: float) -> Tensor:
    drawn = torch.rand(STEPS, 16, 8, generator=torch.Generator().manual_seed(0))
    return (low + (high - low) * drawn).requires_grad_()


def assert_same(neuron: LIF, leaky: torch.nn.Module, x: Tensor) -> None:
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    spikes, expected = neuron.layer(STEPS)(x), run(leaky, x)
    assert 0.1 < expected.mean() < 0.9
    assert torch.equal(spikes, expected)
    ours, theirs = (torch.autograd.grad(s, x, weights)[0] for s in (spikes, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@slopes
@pytest.mark.parametrize("leak", [0.5, 0.9])
def test_reset_to_zero(slope: Slope, theirs: object, leak: float) -> None:
    leaky = snntorch.Leaky(beta=leak, reset_mechanism="zero", spike_grad=theirs())
    assert_same(LIF(leak=leak, detach_reset=True, gradient=slope), leaky, currents(-1, 1.5))


@slopes
def test_reset_by_subtraction_without_a_leak(slope: Slope, theirs: object) -> None:
    leaky = snntorch.Leaky(beta=1.0, reset_mechanism="subtract", spike_grad=theirs())
    assert_same(LIF(leak=1.0, reset="soft", detach_reset=True, gradient=slope), leaky, currents(-1, 1.8))


@slopes
@pytest.mark.parametrize("mechanism", ["zero", "subtract"])
def test_reset_at_once_with_the_gradient_through_it(slope: Slope, theirs: object, mechanism: str) -> None:
    leaky = snntorch.Leaky(beta=0.5, reset_mechanism=mechanism, spike_grad=theirs(), reset_delay=False)
    x = currents(-0.5, 1.4)  # 0.5 * 1 + 1.4 < 2: below the threshold after one reset
    assert_same(LIF(reset=OURS[mechanism], gradient=slope), leaky, x)


def test_reset_by_subtraction_with_a_leak_is_another_neuron() -> None:
    """So that nobody compares the two libraries' numbers without knowing."""
    x = currents(0, 1.5)
    leaky = snntorch.Leaky(beta=0.5, reset_mechanism="subtract")
    assert not torch.equal(run(leaky, x), LIF(reset="soft").layer(STEPS)(x))

"""Does a neuron do on the computer what it does on paper?

Two neurons, three steps, leak 1/2, threshold 1; every number is a sum of powers of 2, so equality is exact.
With u the potential before the spike, s the spike, v the potential after the reset:

    neuron A, currents 0.5, 0.75, 0.25                 neuron B, currents 1.5, 0.25, 1.0
      u 0.5               no spike, v 0.5                u 1.5                       spike, v 0 hard, 0.5 soft
      u 0.25+0.75 = 1     spike (u == threshold), v 0    hard: u 0.25                no spike, v 0.25
      u 0.25              no spike, v 0.25                     u 0.125+1 = 1.125     spike, v 0
      (hard and soft agree: u - 1 = 0)                   soft: u 0.25+0.25 = 0.5     no spike, v 0.5
                                                               u 0.25+1 = 1.25       spike, v 0.25

Gradients of L = the sum of all spikes, with the triangle d(u) = max(0, 1 - |u - 1|), from the last step back:
dL/du[t] = d[t] + leak dL/du[t+1] dv[t]/du[t], where dv/du = (1 - s) - u d (hard), 1 - d (soft), and 1 - s or 1
where the reset is detached. dx[t] = du[t].

    A: d = 0.5, 1, 0.25; s = 0, 1, 0
      hard            du2 = 0.25   du1 = 1 + 0.125 (0 - 1) = 0.875        du0 = 0.5 + 0.4375 (1 - 0.25) = 0.828125
      hard, detached  du2 = 0.25   du1 = 1 + 0.125 * 0     = 1            du0 = 0.5 + 0.5               = 1
      soft            du2 = 0.25   du1 = 1 + 0.125 * 0     = 1            du0 = 0.5 + 0.5 * 0.5         = 0.75
      soft, detached  du2 = 0.25   du1 = 1 + 0.125         = 1.125        du0 = 0.5 + 0.5625            = 1.0625
    B hard: d = 0.5, 0.25, 0.875; s = 1, 0, 1
      hard            du2 = 0.875  du1 = 0.25 + 0.4375 (1 - 0.0625) = 0.66015625
                                   du0 = 0.5 + 0.330078125 (0 - 0.75) = 0.25244140625
      hard, detached  du2 = 0.875  du1 = 0.25 + 0.4375 = 0.6875           du0 = 0.5 + 0.34375 * 0       = 0.5
    B soft: d = 0.5, 0.5, 0.75; s = 1, 0, 1
      soft            du2 = 0.75   du1 = 0.5 + 0.375 * 0.5 = 0.6875       du0 = 0.5 + 0.34375 * 0.5     = 0.671875
      soft, detached  du2 = 0.75   du1 = 0.5 + 0.375 = 0.875              du0 = 0.5 + 0.4375            = 0.9375
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikeproof.snn import Triangle
from spikeproof.snn.dynamics import Leaky, integrate
from spikeproof.snn.kernels import fused_spikes

CURRENTS = torch.tensor([[0.5, 1.5], [0.75, 0.25], [0.25, 1.0]])
SPIKES = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
POTENTIALS = {
    "hard": torch.tensor([[0.5, 1.5], [1.0, 0.25], [0.25, 1.125]]),
    "soft": torch.tensor([[0.5, 1.5], [1.0, 0.5], [0.25, 1.25]]),
}
LAST = {"hard": torch.tensor([0.25, 0.0]), "soft": torch.tensor([0.25, 0.25])}
GRADIENTS = {
    ("hard", False): torch.tensor([[0.828125, 0.25244140625], [0.875, 0.66015625], [0.25, 0.875]]),
    ("hard", True): torch.tensor([[1.0, 0.5], [1.0, 0.6875], [0.25, 0.875]]),
    ("soft", False): torch.tensor([[0.75, 0.671875], [1.0, 0.6875], [0.25, 0.75]]),
    ("soft", True): torch.tensor([[1.0625, 0.9375], [1.125, 0.875], [0.25, 0.75]]),
}

Spike = Callable[[Tensor, Leaky], Tensor]
both = pytest.mark.parametrize(
    "spike",
    [
        pytest.param(lambda x, dynamics: integrate(x, dynamics, Triangle()).spikes, id="reference"),
        pytest.param(lambda x, dynamics: fused_spikes(x, dynamics, Triangle(), len(x)), id="fused"),
    ],
)


def constants(reset: str = "hard", detached: bool = False) -> Leaky:
    return Leaky(torch.tensor(0.5), torch.tensor(1.0), reset == "hard", detached)


@both
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_spikes_by_hand(spike: Spike, reset: str) -> None:
    assert torch.equal(spike(CURRENTS, constants(reset)), SPIKES)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_potentials_by_hand(reset: str) -> None:
    trace = integrate(CURRENTS, constants(reset), Triangle())
    assert torch.equal(trace.potentials, POTENTIALS[reset])
    assert torch.equal(trace.distances, POTENTIALS[reset] - 1)
    assert torch.equal(trace.last[0], LAST[reset])


@both
@pytest.mark.parametrize(("reset", "detached"), GRADIENTS)
def test_gradient_on_currents_by_hand(spike: Spike, reset: str, detached: bool) -> None:
    x = CURRENTS.clone().requires_grad_()
    spike(x, constants(reset, detached)).sum().backward()
    assert torch.equal(x.grad, GRADIENTS[reset, detached])


@both
@pytest.mark.parametrize(
    ("reset", "to_leak", "to_threshold"),
    [
        # leak: du1 v0 + du2 v1. threshold: -d, and through the reset onward * u d (hard: v = u (1 - s)) or
        # onward * (d - s) (soft: v = u - threshold s), where onward = leak du[t+1].
        # B hard: v0 = 0, v1 = 0.25: 0.875 * 0.25. -0.875 | -0.25 + 0.4375 * 0.0625 | -0.5 + 0.330078125 * 0.75
        ("hard", 0.21875, -1.35009765625),
        # B soft: v0 = v1 = 0.5: (0.6875 + 0.75) * 0.5. -0.75 | -0.5 + 0.375 * 0.5 | -0.5 - 0.34375 * 0.5
        ("soft", 0.71875, -1.734375),
    ],
)
def test_gradient_on_leak_and_threshold_by_hand(spike: Spike, reset: str, to_leak: float, to_threshold: float) -> None:
    leak, threshold = torch.tensor(0.5, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    spike(CURRENTS[:, 1:], Leaky(leak, threshold, reset == "hard")).sum().backward()
    assert leak.grad.item() == to_leak
    assert threshold.grad.item() == to_threshold


@both
@pytest.mark.parametrize("threshold", [0.1, 1.0, 1.7])
def test_potential_equal_to_the_threshold_fires(spike: Spike, threshold: float) -> None:
    level = torch.tensor(threshold)
    x = torch.stack([torch.nextafter(level, torch.tensor(0.0)), level]).unsqueeze(0)
    assert spike(x, Leaky(torch.tensor(0.5), level)).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_stream_in_pieces_equals_the_whole(reset: str) -> None:
    x = torch.randn(9, 5, 3, generator=torch.Generator().manual_seed(0)) + 0.4
    whole = integrate(x, constants(reset), Triangle())
    state, spikes, potentials = None, [], []
    for piece in x.split([1, 4, 2, 2]):
        part = integrate(piece, constants(reset), Triangle(), state)
        state = part.last
        spikes.append(part.spikes)
        potentials.append(part.potentials)
    assert 0 < whole.spikes.mean() < 1
    assert torch.equal(torch.cat(spikes), whole.spikes)
    assert torch.equal(torch.cat(potentials), whole.potentials)
    assert torch.equal(state[0], whole.last[0])


def test_half_precision_currents_are_integrated_in_float32() -> None:
    x = torch.full((20, 1), 0.0625, dtype=torch.bfloat16)
    dynamics = Leaky(torch.tensor(0.999), torch.tensor(10.0))
    trace = integrate(x, dynamics, Triangle())
    assert trace.spikes.dtype == torch.bfloat16
    assert trace.potentials.dtype == torch.float32
    exact = integrate(x.double(), dynamics, Triangle()).potentials
    assert (trace.potentials - exact).abs().max() < 1e-6  # bfloat16 sums would be off by 1e-3

"""What sequence does an encoder make of an image, and what gradient does it give back?"""

import pytest
import torch
from torch import Tensor

from spikeproof.cli import choices
from spikeproof.snn import Direct, Encoder, Latency, Poisson

ENCODERS = [kind() for kind in choices(Encoder).values()]
every_encoder = pytest.mark.parametrize("encoder", ENCODERS, ids=str)


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_encoder
@pytest.mark.parametrize("steps", [1, 4])
def test_contract(encoder: Encoder, steps: int) -> None:
    x = image(3, 2, 4, 4).requires_grad_()
    sequence = encoder(x, steps)
    assert sequence.shape in {(steps, 3, 2, 4, 4), (1, 3, 2, 4, 4)}
    assert sequence.dtype == x.dtype
    (gradient,) = torch.autograd.grad(sequence.sum(), x)
    assert gradient.shape == x.shape
    assert gradient.isfinite().all()
    torch.manual_seed(0)
    first = encoder(x, steps)
    if not encoder.stochastic:
        assert torch.equal(encoder(x, steps), first)
    torch.manual_seed(0)
    assert torch.equal(encoder(x, steps), first)
    assert isinstance(encoder.normalised, bool)


def test_direct_is_the_image_once() -> None:
    x = image(2, 1, 3, 3)
    assert torch.equal(Direct()(x, 7), x.unsqueeze(0))


def test_poisson_spikes_at_the_rate_of_the_pixel() -> None:
    steps = 20_000
    x = torch.tensor([[0.0, 0.1, 0.5, 0.9, 1.0]])
    torch.manual_seed(0)
    spikes = Poisson()(x, steps)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    deviation = (x * (1 - x) / steps).sqrt()
    assert ((spikes.mean(0) - x).abs() <= 5 * deviation).all()  # 0 never and 1 always fires
    apart = (spikes[:-1, 0, 2] == spikes[1:, 0, 2]).double().mean()
    assert abs(apart - 0.5) < 5 * 0.5 / steps**0.5  # a step says nothing about the next


def test_poisson_passes_the_gradient_straight_through() -> None:
    x, weights = image(2, 1, 3, 3).requires_grad_(), image(5, 2, 1, 3, 3, seed=1)
    (gradient,) = torch.autograd.grad(Poisson()(x, 5), x, weights)
    torch.testing.assert_close(gradient, weights.sum(0))


def test_poisson_draws_the_same_in_every_memory_layout() -> None:
    x = image(2, 3, 4, 4)
    torch.manual_seed(0)
    plain = Poisson()(x, 3)
    torch.manual_seed(0)
    assert torch.equal(Poisson()(x.contiguous(memory_format=torch.channels_last), 3), plain)


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_latency_fires_once_and_the_earlier_the_brighter(steps: int) -> None:
    x = torch.linspace(0, 1, 101, dtype=torch.float64).view(1, -1)
    spikes = Latency()(x, steps)
    assert (spikes.sum(0) == 1).all()
    when = spikes.argmax(0).squeeze(0)
    assert (when.diff() <= 0).all()
    assert when[-1] == 0
    assert when[0] == steps - 1
    assert ((when - (steps - 1) * (1 - x.squeeze(0))).abs() <= 0.5 + 1e-9).all()  # the nearest step


def test_latency_by_hand() -> None:
    # T = 5: the times 4 (1 - x) are 0, 1.2, 2.8, 4
    spikes = Latency()(torch.tensor([[1.0, 0.7, 0.3, 0.0]]), 5)
    assert spikes[:, 0].argmax(0).tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("steps", [2, 5])
def test_latency_has_the_gradient_of_a_spike_shared_between_two_steps(steps: int) -> None:
    """The spike of time t counts 1 - (t - floor t) at the step before and t - floor t at the step after."""
    weights = image(steps, 1, 50, seed=1)

    def shared(x: Tensor) -> Tensor:
        time = (steps - 1) * (1 - x)
        step = torch.arange(steps).view(-1, 1, 1)
        return ((1 - (time - step).abs()).clamp(min=0) * weights).sum()

    x = image(1, 50).requires_grad_()
    (found,) = torch.autograd.grad(Latency()(x, steps), x, weights)
    small = 1e-7
    for pixel in range(50):
        shift = torch.zeros_like(x).index_fill_(1, torch.tensor(pixel), small)
        difference = (shared(x.detach() + shift) - shared(x.detach() - shift)) / (2 * small)
        assert found[0, pixel].item() == pytest.approx(difference.item(), abs=1e-5)


def test_latency_in_one_step_says_nothing() -> None:
    x = image(1, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(Latency()(x, 1).sum(), x)
    assert (gradient == 0).all()

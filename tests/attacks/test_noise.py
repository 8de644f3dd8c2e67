"""Is noise drawn as it says, and the best draw kept?"""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import L2, Attack, Linf, NormalNoise, UniformNoise
from spikeproof.randomness import Streams
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
ATTACKS = [lambda draws: UniformNoise(draws=draws), lambda draws: NormalNoise(draws=draws)]
every_noise = pytest.mark.parametrize("make", ATTACKS, ids=["uniform", "gaussian"])


def margins(model: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        logits = model(z)
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    return logits.scatter(1, y.unsqueeze(1), -torch.inf).amax(1) - own


def test_one_uniform_draw_is_the_threats_start(trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:5], digits[3][:5]
    expected = Linf(0.2).start(
        x, Streams.of(4, torch.arange(5, device=x.device)).at(torch.tensor(1))
    )  # that of the first step
    assert torch.equal(UniformNoise()(trained_ann, x, y, Linf(0.2), seed=4), expected)


def test_gaussian_noise_has_its_deviation(trained_ann: SpikingNetwork) -> None:
    x, y = torch.full((40, 1, 8, 8), 0.5), torch.zeros(40, dtype=torch.long)
    z = NormalNoise(relative_sigma=0.1)(trained_ann, x, y, Linf(0.2))
    assert (z - x).std().item() == pytest.approx(0.02, rel=0.05)
    assert abs((z - x).mean().item()) < 0.002
    far = NormalNoise(relative_sigma=9.0)(trained_ann, x, y, L2(0.4))
    assert L2(0.4).distance(far, x).min() > 0.399  # projected on the sphere


@every_noise
def test_more_draws_are_never_worse(make: object, trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:60], digits[3][:60]
    one, many = (make(draws)(trained_ann, x, y, Linf(0.3), seed=2) for draws in (1, 5))  # the first draw is the same
    before, after = margins(trained_ann, one, y), margins(trained_ann, many, y)
    assert (after >= before - 1e-4).all()
    assert (after > before + 1e-3).sum() > 20


@every_noise
def test_stopping_draws_no_more_for_broken_images(make: object, trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:60], digits[3][:60]
    attack: Attack = make(6)
    outcome = attack.run(trained_ann, x, y, Linf(0.5), seed=2, stop=True)
    broken = margins(trained_ann, outcome.x, y) > 0
    first = margins(trained_ann, make(1)(trained_ann, x, y, Linf(0.5), seed=2), y) > 0
    assert first.any()
    assert (broken >= first).all()
    assert (outcome.forwards[first] == 1).all()
    assert (outcome.forwards[~broken] == 6).all()
    assert (outcome.gradients == 0).all()

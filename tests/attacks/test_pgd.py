"""Does PGD walk as its paper says, keep the best it saw, and count what it spent?"""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import (
    FGSM,
    L2,
    PGD,
    RFGSM,
    AttackLoss,
    CrossEntropy,
    Linf,
    Margin,
    NormalNoise,
    Threat,
    UniformNoise,
)
from spikeproof.choices import UserError
from spikeproof.snn import Network, Poisson, SmallCNN, SpikingNetwork, view
from tests.attacks.outcomes import asked, at_first

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
every_threat = pytest.mark.parametrize("threat", [Linf(0.1), L2(1.0)], ids=str)


def gradient(model: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    z = z.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(z), y, reduction="sum"), z)[0]


def steepest(threat: Threat, g: Tensor) -> Tensor:
    if isinstance(threat, Linf):
        return g.sign()
    return g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def onto(threat: Threat, z: Tensor, x: Tensor) -> Tensor:
    if isinstance(threat, Linf):
        return torch.min(torch.max(z, x - threat.eps), x + threat.eps).clamp(0, 1)
    return threat.project(z, x)  # tested against bisection in test_threats


@every_threat
@pytest.mark.parametrize("start", ["clean", "near", "random"])
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_equal_to_a_loop_written_by_hand(
    threat: Threat, start: str, momentum: float, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    streams = at_first(5, x)
    if start == "clean":
        z = x
    elif start == "near":
        z = onto(threat, x + 0.001 * streams.normal(1, 8, 8, like=x), x)
    elif isinstance(threat, Linf):
        z = onto(threat, x + threat.eps * (2 * streams.uniform(1, 8, 8, like=x) - 1), x)
    else:
        z = threat.start(x, streams)
    velocity = torch.zeros_like(x)
    for _ in range(4):
        g = gradient(trained, z, y)
        if momentum:
            g = velocity = momentum * velocity + g / g.abs().mean((1, 2, 3), keepdim=True)
        z = onto(threat, z + 0.4 * threat.eps * steepest(threat, g), x)
    attack = PGD(steps=4, relative_step=0.4, start=start, momentum=momentum, keep="last")
    found = attack(trained, x, y, threat, seed=5)
    if isinstance(threat, Linf):
        assert torch.equal(found, z)
    else:
        torch.testing.assert_close(found, z, rtol=0, atol=1e-5)


@every_threat
def test_fgsm_is_one_whole_step(threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    expected = onto(threat, x + threat.eps * steepest(threat, gradient(trained, x, y)), x)
    torch.testing.assert_close(FGSM()(trained, x, y, threat), expected, rtol=0, atol=1e-6)
    one = PGD(steps=1, relative_step=1.0, start="clean", keep="last")
    assert torch.equal(FGSM()(trained, x, y, threat), one(trained, x, y, threat))
    without_noise = RFGSM(relative_start=0.0)
    assert torch.equal(without_noise(trained, x, y, threat), FGSM()(trained, x, y, threat))


def test_rfgsm_is_a_random_step_and_the_rest(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    z = (x + 0.03 * at_first(3, x).normal(1, 8, 8, like=x).sign()).clamp(0, 1)
    z = z + 0.07 * gradient(trained, z, y).sign()
    found = RFGSM(relative_start=0.3)(trained, x, y, Linf(0.1), seed=3)
    torch.testing.assert_close(found, onto(Linf(0.1), z, x), rtol=0, atol=1e-6)


def score(model: nn.Module, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        logits = model(z)
    return logits.argmax(1) != y, F.cross_entropy(logits, y, reduction="none")


def at_least_as_good(model: nn.Module, a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """Per image: broken before unbroken, then the larger loss."""
    (broken_a, loss_a), (broken_b, loss_b) = score(model, a, y), score(model, b, y)
    return (broken_a & ~broken_b) | ((broken_a == broken_b) & (loss_a >= loss_b - 1e-4))


@every_threat
def test_the_best_of_several_restarts_beats_each(
    threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    best = PGD(steps=3, restarts=3)(trained, x, y, threat, seed=7)
    assert at_least_as_good(trained, best, PGD(steps=3)(trained, x, y, threat, seed=7), y).all()
    for leg in range(3):  # the iterates of all restarts, one after the other, walked by hand
        z = threat.start(x, at_first(7, x, leg))
        for _ in range(3):
            assert at_least_as_good(trained, best, z, y).all()
            z = onto(threat, z + threat.eps * 2.5 / 3 * steepest(threat, gradient(trained, z, y)), x)
        assert at_least_as_good(trained, best, z, y).all()


@every_threat
def test_the_best_iterate_beats_the_last(threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    last = PGD(steps=5, relative_step=2.0, keep="last")(trained, *batch, threat)
    best = PGD(steps=5, relative_step=2.0)(trained, *batch, threat)
    assert at_least_as_good(trained, best, last, batch[1]).all()
    assert not torch.equal(best, last)  # with such a step the last one is not always the best


@every_threat
def test_more_steps_are_no_worse(threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    def mean_loss(steps: int) -> float:
        found = PGD(steps=steps, loss=Margin())(trained, *batch, threat)
        with torch.no_grad():
            return Margin()(trained(found), batch[1]).mean().item()

    few, many = mean_loss(1), mean_loss(12)
    assert many > few


def test_a_step_follows_the_loss_it_was_given(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    attacks = [PGD(steps=3, start="clean", loss=loss, keep="last") for loss in (CrossEntropy(), Margin())]
    found = [attack(trained, *batch, Linf(0.1)) for attack in attacks]
    assert not torch.equal(*found)


def counts(tensor: Tensor) -> set[int]:
    return set(tensor.tolist())


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("eot", [1, 2])
def test_pgd_counts_what_it_spends(
    restarts: int, eot: int, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    calls: list[int] = []
    counted = nn.Sequential(trained)
    counted.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    attack = PGD(steps=3, restarts=restarts, eot=eot)
    outcome = attack.run(counted, *batch, Linf(0.1))
    assert counts(outcome.gradients) == {3 * restarts * eot}
    assert counts(outcome.forwards) == {4 * restarts * eot}  # the last iterate is looked at too
    assert sum(calls) == outcome.forwards.sum()
    if restarts == 1:
        outcome = PGD(steps=3, eot=eot, keep="last").run(trained, *batch, Linf(0.1))
        assert counts(outcome.gradients) == counts(outcome.forwards) == {3 * eot}


def test_other_attacks_count_what_they_spend(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    for attack, gradients, forwards in (
        (FGSM(), 1, 1),
        (FGSM(eot=4), 4, 4),
        (RFGSM(eot=2), 2, 2),
        (UniformNoise(draws=3), 0, 3),
        (NormalNoise(draws=2), 0, 2),
    ):
        outcome = attack.run(trained, *batch, Linf(0.1))
        assert counts(outcome.gradients) == {gradients}
        assert counts(outcome.forwards) == {forwards}


def test_stopping_breaks_the_same_images_for_less(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    attack, threat = PGD(steps=6, start="clean"), Linf(0.12)
    full, stopped = attack.run(trained, x, y, threat), attack.run(trained, x, y, threat, stop=True)
    broken_full, broken_stopped = score(trained, full.x, y)[0], score(trained, stopped.x, y)[0]
    assert (broken_stopped >= broken_full).all()
    assert broken_full.sum() > 3
    assert (stopped.gradients[broken_stopped] <= 6).all()
    assert (stopped.gradients[~broken_stopped] == 6).all()
    assert stopped.gradients.sum() < full.gradients.sum()
    wrong_anyway = score(trained, x, y)[0]
    assert (stopped.gradients[wrong_anyway] == 1).all()


def test_stopping_skips_restarts_for_broken_images(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    outcome = PGD(steps=2, restarts=3).run(trained, *batch, Linf(0.15), stop=True)
    held = ~score(trained, outcome.x, batch[1])[0]
    assert (outcome.gradients[held] == 6).all()
    assert held.sum() < len(held)
    assert (outcome.gradients[~held] < 6).any()


def test_stopping_with_the_last_iterate_keeps_broken_images_broken(
    trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    outcome = PGD(steps=6, start="clean", keep="last").run(trained, x, y, Linf(0.12), stop=True)
    best = PGD(steps=6, start="clean").run(trained, x, y, Linf(0.12))
    assert outcome.x.shape == x.shape
    assert (score(trained, outcome.x, y)[0] >= score(trained, best.x, y)[0]).all()


def test_a_gradient_that_is_not_finite_counts_as_zero() -> None:
    class Cliff(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = x.flatten(1)
            return torch.stack([z[:, 0], (z[:, 1] - z[:, 1].detach()).sqrt()], 1)  # d sqrt at 0 is infinite

    x = torch.full((2, 1, 1, 2), 0.5)
    found = PGD(steps=2)(Cliff(), x, torch.tensor([0, 1]), L2(0.1))
    assert found.isfinite().all()
    assert L2(0.1).contains(found, x).all()


@dataclass(frozen=True)
class FirstLogit(AttackLoss):
    """Linear in the logits, so that the gradient of a mean over draws is the mean of the draws' gradients."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        return logits[:, 0]


def test_averaging_over_n_draws_divides_the_variance_by_n(digits: Examples) -> None:
    network = Network(architecture=SmallCNN(widths=(4, 4, 4)), encoder=Poisson(), steps=2)
    model, x, y = network.build((1, 8, 8), 10).eval(), digits[2][:2], digits[3][:2]
    assert model.stochastic
    torch.manual_seed(0)

    def variance(draws: int) -> float:
        query = asked(model, x, y, Linf(), eot=draws)
        samples = [query.gradient(x, FirstLogit())[0] for _ in range(60)]
        return torch.stack(samples).var(0).sum().item()

    assert variance(8) == pytest.approx(variance(1) / 8, rel=0.3)


def test_an_attack_on_a_stochastic_model_is_repeatable(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    model = view(trained, encoder=Poisson())
    attack = PGD(steps=2, eot=2, start="clean")
    first = attack(model, *batch, Linf(0.1), seed=1)
    assert torch.equal(attack(model, *batch, Linf(0.1), seed=1), first)
    assert not torch.equal(attack(model, *batch, Linf(0.1), seed=2), first)


@every_threat
def test_nesterov_by_hand(threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    """The gradient is taken a momentum's step ahead, inside the threat or not; a change of 1 everywhere is 8 in L2."""
    x, y = batch
    z, velocity, size = x, torch.zeros_like(x), 0.4 * threat.eps
    for _ in range(4):
        g = gradient(trained, z + 0.75 * size * velocity / (1 if isinstance(threat, Linf) else 8), y)
        velocity = 0.75 * velocity + g / g.abs().mean((1, 2, 3), keepdim=True)
        z = onto(threat, z + size * steepest(threat, velocity), x)
    attack = PGD(steps=4, relative_step=0.4, start="clean", momentum=0.75, nesterov=True, keep="last")
    torch.testing.assert_close(attack(trained, x, y, threat), z, rtol=0, atol=1e-5)


@every_threat
def test_the_best_of_nesterov_is_no_look_ahead(
    threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """What is kept was asked about itself: that costs a forward a step, and it is allowed."""
    x, y = batch
    attack = PGD(steps=6, momentum=1.0, nesterov=True, relative_step=1.0)
    outcome = attack.run(trained, x, y, threat)
    assert threat.contains(outcome.x, x).all()
    assert counts(outcome.gradients) == {6}
    assert counts(outcome.forwards) == {13}
    last = replace(attack, keep="last").run(trained, x, y, threat)
    assert at_least_as_good(trained, outcome.x, last.x, y).all()
    assert counts(last.forwards) == {6}


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(UserError, match="looks ahead along the momentum"):
        PGD(nesterov=True)


@pytest.mark.parametrize("nesterov", [False, True], ids=["MIFGSM", "NIFGSM"])
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_torchattacks_takes_the_same_steps(
    nesterov: bool, decay: float, trained_ann: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    model, x, y = copy.deepcopy(trained_ann).double(), batch[0].double(), batch[1]
    peer = torchattacks.NIFGSM if nesterov else torchattacks.MIFGSM
    attack = PGD(steps=7, relative_step=0.3, start="clean", momentum=decay, nesterov=nesterov, keep="last")
    theirs = peer(model, eps=0.1, alpha=0.03, steps=7, decay=decay)(x, y)
    torch.testing.assert_close(attack(model, x, y, Linf(0.1)), theirs, rtol=0, atol=1e-9)
    assert not torch.equal(theirs, replace(attack, momentum=0.0, nesterov=False)(model, x, y, Linf(0.1)))

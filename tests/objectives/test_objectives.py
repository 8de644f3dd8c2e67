"""Does every objective keep the promises of one, and is it the formula of its paper?"""

import copy
import json
import math
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import FGSM, L2, PGD, Attack, CrossEntropy, KullbackLeibler, Linf, UniformNoise
from spikeproof.attacks.attack import Outcome
from spikeproof.attacks.query import Task
from spikeproof.choices import UserError, short
from spikeproof.configs import from_config, to_config
from spikeproof.objectives import (
    MART,
    RAT,
    TRADES,
    Adversarial,
    Distillation,
    GaussianNoise,
    Objective,
    StablePotential,
    Standard,
    ThresholdGuarding,
)
from spikeproof.objectives.objective import Terms
from spikeproof.registry import known
from spikeproof.snn import LIF, MLP, ATan, Network, ReLU, SmallCNN, SpikingNetwork

quick = PGD(steps=2, keep="last")
OBJECTIVES: list[Objective] = [
    Standard(),
    Standard(label_smoothing=0.1),
    Adversarial(attack=quick),
    Adversarial(attack=FGSM(), clean_weight=0.5, label_smoothing=0.1),
    Adversarial(attack=PGD(steps=2), threat=L2(1.0)),
    GaussianNoise(sigma=0.1),
    GaussianNoise(sigma="1/4", clamp=False),
    TRADES(attack=PGD(steps=2, loss=KullbackLeibler(), start="near", keep="last")),
    TRADES(beta=1.0, attack=UniformNoise()),
    MART(attack=quick),
    MART(beta=0.0, attack=quick, threat=L2(1.0)),
    Distillation(),
    Distillation(layers="all", logit_weight=0.5, temperature=4.0, label_smoothing=0.1),
    RAT(objective=Distillation(feature_weight=0.0)),
]
OBJECTIVES += [
    kind() for kind in known(Objective).values() if kind not in {type(objective) for objective in OBJECTIVES}
]
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=short)


def network(ann: bool = False, seed: int = 0) -> SpikingNetwork:
    neuron = ReLU() if ann else LIF(threshold=0.5, gradient=ATan())
    choices = Network(architecture=SmallCNN(widths=(4, 5, 6)), neuron=neuron, steps=1 if ann else 2)
    return choices.build((1, 8, 8), 5, seed=seed)


def batch(images: int = 8) -> tuple[Tensor, Tensor]:
    x = torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(images) % 5


def without_spikes(objective: Objective) -> Objective:
    """The objective as it may be used on a network that has no potentials to look at."""
    return replace(objective, weight=0.0) if isinstance(objective, StablePotential | ThresholdGuarding) else objective


def prepared(objective: Objective) -> Terms:
    """As training uses it: those that learn from a teacher have one, an ANN of the same architecture."""
    return objective.prepared(network(ann=True, seed=1))


def of_answers_alone(objective: Objective) -> Objective:
    """The objective as it may be used where teacher and network are not alike inside."""
    if isinstance(objective, RAT):
        return replace(objective, objective=of_answers_alone(objective.objective))
    return replace(objective, feature_weight=0.0) if isinstance(objective, Distillation) else objective


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


@every_objective
@pytest.mark.parametrize("ann", [False, True], ids=["snn", "ann"])
def test_finite_scalars_and_a_gradient_on_every_parameter(objective: Objective, ann: bool) -> None:
    model = network(ann).train()
    objective = prepared(without_spikes(objective) if ann else objective)
    torch.manual_seed(0)
    terms = objective(model, *batch())
    assert terms
    for name, term in terms.items():
        assert name.isidentifier()
        assert term.shape == ()
        assert term.isfinite()
        assert term >= 0
    total(terms).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_objective
def test_the_model_stays_as_it_was(objective: Objective) -> None:
    model = network().train()
    for module in list(model.modules())[::3]:
        module.training = False
    next(iter(model.parameters())).grad = torch.ones_like(next(iter(model.parameters())))
    modes = [m.training for m in model.modules()]
    weights = copy.deepcopy(dict(model.named_parameters()))
    x, y = batch()
    prepared(objective)(model, x, y)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(p, weights[k]) for k, p in model.named_parameters())
    assert (next(iter(model.parameters())).grad == 1).all()
    assert all(p.grad is None for p in list(model.parameters())[1:])
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.equal(x, batch()[0])


@every_objective
def test_repeatable_under_a_seed(objective: Objective) -> None:
    def losses(seed: int) -> dict[str, float]:
        torch.manual_seed(seed)
        return {k: v.item() for k, v in prepared(objective)(network(), *batch()).items()}

    assert losses(1) == losses(1)
    # FGSM alone draws nothing; a small PGD from another start may find the same
    if isinstance(objective, GaussianNoise):
        assert losses(1) != losses(2)


@every_objective
def test_a_few_steps_make_it_smaller(objective: Objective) -> None:
    # No jumps, and no batch norm, whose statistics start far from the batch's and make the first attacks weak.
    smooth = Network(architecture=MLP(hidden=(16,)), neuron=ReLU(), steps=1)
    model = smooth.build((1, 8, 8), 5)
    objective = without_spikes(objective).prepared(smooth.build((1, 8, 8), 5, seed=1))
    torch.manual_seed(0)
    first = total(objective(model, *batch())).item()
    for _ in range(15):
        torch.manual_seed(0)
        gradients = torch.autograd.grad(total(objective(model, *batch())), list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= 0.01 * gradient
    torch.manual_seed(0)
    assert total(objective(model, *batch())).item() < first


@every_objective
def test_a_module_from_outside(objective: Objective) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    objective = prepared(of_answers_alone(without_spikes(objective)))
    total(objective(model, *batch())).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_objective
def test_an_ann_is_wanted_by_those_that_say_so(objective: Objective) -> None:
    """Preparing one leaves the choice as it was: what is written down of it knows nothing of an ANN."""
    before = to_config(objective)
    prepared(objective)
    assert to_config(objective) == before
    if objective.needs_ann:
        with pytest.raises(UserError, match="give the recipe one under ann"):
            objective.prepared(None)
    else:
        assert objective.prepared(None)(network(), *batch()).keys() == objective(network(), *batch()).keys()


@every_objective
def test_round_trip(objective: Objective) -> None:
    again = from_config(json.loads(json.dumps(to_config(objective))), Objective)
    assert again == objective
    assert hash(again) == hash(objective)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    "weightless",
    [
        lambda s: Standard(label_smoothing=s),
        lambda s: Adversarial(clean_weight=1, label_smoothing=s),
        lambda s: Adversarial(threat=Linf(0), attack=quick, label_smoothing=s),
        lambda s: GaussianNoise(sigma=0, label_smoothing=s),
        lambda s: GaussianNoise(sigma=0, clamp=False, label_smoothing=s),
        lambda s: TRADES(beta=0, label_smoothing=s),
        lambda s: Distillation(logit_weight=0, feature_weight=0, label_smoothing=s),
    ],
    ids=["Standard", "clean_weight 1", "eps 0", "sigma 0", "sigma 0, unclamped", "beta 0", "no teacher's weight"],
)
def test_without_weight_it_is_plain_cross_entropy(weightless: object, smoothing: float) -> None:
    model, (x, y) = network(), batch()
    loss = total(prepared(weightless(smoothing))(model, x, y))
    expected = F.cross_entropy(model(x), y, label_smoothing=smoothing)
    assert torch.equal(loss, expected)
    parameters = list(model.parameters())
    for a, b in zip(*(torch.autograd.grad(v, parameters) for v in (loss, expected)), strict=True):
        torch.testing.assert_close(a, b)


SHIFT = 0.3


@dataclass(frozen=True, kw_only=True)
class Checkerboard(Attack):
    """A fixed change, whatever the model: pixels move towards 1/2 in a checkerboard."""

    def search(self, task: Task) -> Outcome:
        spent = torch.zeros(len(task.x), dtype=torch.long)
        return Outcome(checkerboard(task.x), spent, spent)


def checkerboard(x: Tensor) -> Tensor:
    board = (torch.arange(8).view(-1, 1) + torch.arange(8)) % 2
    return x + SHIFT * board * (0.5 - x).sign()


def linear() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).double()


def double_batch() -> tuple[Tensor, Tensor]:
    x, y = batch()
    return x.double(), y


def assert_same_loss_and_gradient(objective: Objective, expected: object) -> None:
    """Against a formula of clean logits, perturbed logits and labels, in float64."""
    model, (x, y) = linear(), double_batch()
    z, z_tilde = model(x), model(checkerboard(x))
    parameters = list(model.parameters())
    mine, theirs = total(objective(model, x, y)), expected(z, z_tilde, y)
    torch.testing.assert_close(mine, theirs)
    for a, b in zip(*(torch.autograd.grad(v, parameters) for v in (mine, theirs)), strict=True):
        torch.testing.assert_close(a, b)


def test_trades_is_its_formula() -> None:
    """eq. 5: CE(z, y) + beta mean_i sum_k p_ik (log p_ik - log p~_ik), both branches differentiated."""

    def formula(z: Tensor, z_tilde: Tensor, y: Tensor) -> Tensor:
        p, p_tilde = z.exp() / z.exp().sum(1, keepdim=True), z_tilde.exp() / z_tilde.exp().sum(1, keepdim=True)
        cross_entropy = -p[torch.arange(8), y].log().mean()
        return cross_entropy + 4.5 * (p * (p / p_tilde).log()).sum(1).mean()

    assert_same_loss_and_gradient(TRADES(beta=4.5, attack=Checkerboard()), formula)


def test_mart_is_its_formula() -> None:
    """eq. 11-12: mean_i [-log p~_y - log(1.0001 - max_k!=y p~_k)] + beta mean_i KL(p_i || p~_i) (1 - p_y)."""

    def formula(z: Tensor, z_tilde: Tensor, y: Tensor) -> Tensor:
        p, p_tilde = z.exp() / z.exp().sum(1, keepdim=True), z_tilde.exp() / z_tilde.exp().sum(1, keepdim=True)
        losses = []
        for i, label in enumerate(y.tolist()):
            others = torch.stack([p_tilde[i, k] for k in range(5) if k != label])
            boosted = -p_tilde[i, label].log() - (1.0001 - others.max()).log()
            divergence = sum(p[i, k] * (p[i, k].log() - p_tilde[i, k].log()) for k in range(5))
            losses.append(boosted + 3.0 * divergence * (1 - p[i, label]))
        return torch.stack(losses).mean()

    assert_same_loss_and_gradient(MART(beta=3.0, attack=Checkerboard()), formula)


def test_adversarial_is_its_formula() -> None:
    def formula(z: Tensor, z_tilde: Tensor, y: Tensor) -> Tensor:
        return 0.75 * F.cross_entropy(z_tilde, y) + 0.25 * F.cross_entropy(z, y)

    assert_same_loss_and_gradient(Adversarial(clean_weight=0.25, attack=Checkerboard()), formula)
    assert_same_loss_and_gradient(Adversarial(attack=Checkerboard()), lambda z, z_tilde, y: F.cross_entropy(z_tilde, y))


@pytest.mark.parametrize("clamp", [True, False])
def test_gaussian_noise_is_its_formula(clamp: bool) -> None:
    model, (x, y) = linear(), double_batch()
    torch.manual_seed(1)
    loss = total(GaussianNoise(sigma=0.5, clamp=clamp)(model, x, y))
    torch.manual_seed(1)
    noisy = x + 0.5 * torch.randn_like(x)
    torch.testing.assert_close(loss, F.cross_entropy(model(noisy.clamp(0, 1) if clamp else noisy), y))


def test_both_branches_see_the_model_in_its_own_mode() -> None:
    """Batch norm takes its statistics over the clean and the perturbed batch, one after the other."""
    for objective, passes in ((TRADES(attack=quick_divergence()), 2), (MART(attack=quick), 2), (Standard(), 1)):
        model = network().train()
        norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
        objective(model, *batch())
        assert norm.num_batches_tracked == passes, objective


def quick_divergence() -> PGD:
    return PGD(steps=2, loss=KullbackLeibler(), start="near", keep="last")


def test_the_attack_meets_the_model_in_eval_mode_and_as_it_is_now() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Witness(Attack):
        def search(self, task: Task) -> Outcome:
            assert not any(m.training for m in task.model.modules())
            seen.append(task.model(task.x))
            spent = torch.zeros(len(task.x), dtype=torch.long)
            return Outcome(task.x, spent, spent)

    seen: list[Tensor] = []
    model, (x, y) = network().train(), batch()
    objective = Adversarial(attack=Witness())
    expected = copy.deepcopy(model).eval()(x)
    objective(model, x, y)
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    expected = copy.deepcopy(model).eval()(x)
    objective(model, x, y)
    torch.testing.assert_close(seen[1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Adversarial(clean_weight=1.5), "clean_weight"),
        (lambda: Adversarial(clean_weight=-0.1), "clean_weight"),
        (lambda: Adversarial(clean_weight=math.nan), "clean_weight"),
        (lambda: GaussianNoise(sigma=-0.1), "sigma"),
        (lambda: GaussianNoise(sigma=math.nan), "sigma"),
        (lambda: GaussianNoise(sigma=8), "0-255 scale.*8/255"),
        (lambda: GaussianNoise(sigma="8/0"), "sigma"),
        (lambda: TRADES(beta=-1), "beta"),
        (lambda: TRADES(beta=math.nan), "beta"),
        (lambda: TRADES(attack=PGD(loss=CrossEntropy())), "KullbackLeibler"),
        (lambda: TRADES(attack=FGSM()), "KullbackLeibler"),
        (lambda: MART(beta=-1), "beta"),
        (lambda: MART(beta=math.nan), "beta"),
        *((lambda kind=kind: kind(label_smoothing=1.5), "label_smoothing") for kind in
          (Standard, Adversarial, GaussianNoise, TRADES, MART, Distillation)),
        *((lambda kind=kind: kind(label_smoothing=-0.1), "label_smoothing") for kind in
          (Standard, Adversarial, GaussianNoise, TRADES, MART, Distillation)),
        *((lambda value=value: Distillation(logit_weight=value), "logit_weight") for value in (-1, math.nan, math.inf)),
        *((lambda value=value: Distillation(feature_weight=value), "feature_weight") for value in (-1, math.nan)),
        *((lambda value=value: Distillation(temperature=value), "temperature") for value in (0, -1, math.nan)),
        (lambda: Distillation(layers="first"), "layers of Distillation must be 'last' or 'all', not 'first'"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(make: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()

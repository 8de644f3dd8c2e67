"""Does a student learn from its teacher's answers and features, by the formula, and leave the teacher alone?"""

import copy
import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.objectives import RAT, Distillation, Objective
from spikeproof.objectives.distillation import divergence
from spikeproof.snn import IF, LIF, MLP, RSC, ATan, Network, ReLU, SmallCNN, SpikingNetwork, record


class Student(nn.Module):
    """Two pixels, times other gains at each of three steps -> two neurons -> two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.gains = nn.Parameter(torch.tensor([[1.0, 0.0], [2.0, 1.0], [6.0, 2.0]]))  # [T, pixel]
        self.fire = IF(gradient=ATan()).layer(3)
        self.out = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.fire(self.gains.unsqueeze(1) * x.flatten(1))).mean(0)


class Teacher(nn.Module):
    """Two pixels -> twice the first, minus the second -> two units -> two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0, -1.0]))
        self.unit = nn.ReLU()
        self.out = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.unit(self.scale * x.flatten(1).unsqueeze(0))).squeeze(0)


X, Y = torch.tensor([[[[0.1, 0.2]]]]), torch.tensor([1])


def test_divergence_by_hand() -> None:
    """Temperature 2. Teacher (2 ln 3, 0): q = (3/4, 1/4); student (0, 0): p = (1/2, 1/2).

    4 (3/4 ln(3/2) + 1/4 ln(1/2)) = 4 (0.304099 - 0.173287) = 0.523248. The other way round it would be
    4 (1/2 ln(2/3) + 1/2 ln 2) = 0.575364. A second image on which both agree halves the mean.
    """
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    assert divergence(teacher, student, 2.0).item() == pytest.approx(0.523248, abs=1e-5)
    assert divergence(student, teacher, 2.0).item() == pytest.approx(0.575364, abs=1e-5)
    both = divergence(torch.cat([teacher, student]), torch.zeros(2, 2), 2.0)
    assert both.item() == pytest.approx(0.523248 / 2, abs=1e-5)
    assert divergence(teacher, teacher + 7, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_of_the_answers_is_that_of_hinton() -> None:
    """tau (p - q) an image: the factor tau^2 keeps it as large as a cross-entropy's."""
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    student = torch.zeros(1, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(divergence(teacher, student, 2.0), student)
    torch.testing.assert_close(slope, 2 * torch.tensor([[0.5 - 0.75, 0.5 - 0.25]]))


def test_features_by_hand() -> None:
    """The image is (0.1, 0.2).

    student, currents at three steps     0.1, 0.2, 0.6 and 0, 0.2, 0.4      their means  0.3 and  0.2
    teacher, before its units            2 x 0.1 and -1 x 0.2                            0.2 and -0.2
    mean squared difference              (0.1^2 + 0.4^2) / 2 = 0.085

    What the units make of it, 0.2 and 0, and the spikes of the student play no part.
    """
    student, objective = Student(), Distillation(feature_weight=2.0, logit_weight=0.0).prepared(Teacher())
    terms = objective(student, X, Y)
    assert set(terms) == {"cross_entropy", "teacher_features"}
    assert terms["teacher_features"].item() == pytest.approx(2 * 0.085)
    (slope,) = torch.autograd.grad(terms["teacher_features"], student.gains)
    # d/d gain[t, i] of 2 (mean_t gain[t, i] x_i - J_i)^2 / 2 is 2 d_i x_i / 3, the same at every step
    torch.testing.assert_close(slope, torch.tensor([[2 * 0.1 * 0.1 / 3, 2 * 0.4 * 0.2 / 3]]).expand(3, 2))


def test_all_terms_and_their_weights() -> None:
    student, teacher = Student(), Teacher()
    terms = Distillation(logit_weight=3.0, feature_weight=0.5, temperature=4.0).prepared(teacher)(student, X, Y)
    z, z_teacher = student(X), teacher(X)
    q, p = (logits.double().div(4).softmax(1) for logits in (z_teacher, z))
    assert terms["cross_entropy"].item() == pytest.approx(F.cross_entropy(z, Y).item())
    assert terms["teacher_logits"].item() == pytest.approx(3 * 16 * (q * (q / p).log()).sum().item(), abs=1e-5)
    assert terms["teacher_features"].item() == pytest.approx(0.5 * 0.085)
    assert set(terms) == {"cross_entropy", "teacher_logits", "teacher_features"}
    only = Distillation(feature_weight=0.0).prepared(teacher)(student, X, Y)
    assert set(only) == {"cross_entropy", "teacher_logits"}


def deep(ann: bool, seed: int = 0, classes: int = 5, **changes: object) -> SpikingNetwork:
    neuron = ReLU() if ann else LIF(gradient=ATan())
    settings = {"architecture": SmallCNN(widths=(3, 4, 5)), "neuron": neuron, "steps": 1 if ann else 3} | changes
    return Network(**settings).build((1, 8, 8), classes, seed=seed)


def batch(images: int = 6) -> tuple[Tensor, Tensor]:
    return torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(images) % 5


def test_the_last_layer_or_the_mean_over_all() -> None:
    student, teacher, (x, y) = deep(False).eval(), deep(True, seed=1).eval(), batch()
    with record(student) as learned, record(teacher) as taught:
        student(x)
        teacher(x)
    apart = [
        (learned.currents[name].mean(0) - taught.currents[name].mean(0)).square().mean().item()
        for name in learned.currents
    ]
    assert len(apart) == 3
    for layers, expected in (("last", apart[-1]), ("all", sum(apart) / 3)):
        terms = Distillation(layers=layers).prepared(teacher)(student, x, y)
        assert terms["teacher_features"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_teacher_is_in_eval_mode_and_stays_as_it_was(training: bool) -> None:
    """Even if it came in training mode, where a pass would move batch norm's statistics."""
    teacher, (x, y) = deep(True, seed=1).train(training), batch()
    teacher.body[0].eval()
    modes, before = [m.training for m in teacher.modules()], copy.deepcopy(teacher.state_dict())
    student = deep(False).train()
    objective = Distillation(layers="all").prepared(teacher)
    terms = objective(student, x, y)
    torch.stack(list(terms.values())).sum().backward()
    assert [m.training for m in teacher.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
    assert not any(m._forward_hooks for m in [*teacher.modules(), *student.modules()])
    assert all(p.grad.abs().sum() > 0 for p in student.parameters())
    evaluated = divergence(copy.deepcopy(teacher).eval()(x), copy.deepcopy(student)(x), 2.0)
    assert terms["teacher_logits"].item() == pytest.approx(evaluated.item(), rel=1e-4)


def test_the_teacher_sees_the_image_and_the_student_its_own_noise() -> None:
    """The student's code is noisy, and the teacher's answer is not: the same at every call."""
    x, y = batch()
    teacher, seen = deep(True, seed=1).eval(), []
    teacher.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    student = deep(False, encoder=RSC(variant="II", sigma=0.5)).eval()
    objective = Distillation().prepared(teacher)
    first, again = objective(student, x, y), objective(student, x, y)
    assert all(torch.equal(image, x) for image, _ in seen)
    assert torch.equal(seen[0][1], seen[1][1])
    assert first["teacher_features"] != again["teacher_features"]


def test_a_student_that_learns_comes_nearer_to_its_teacher() -> None:
    student, teacher, (x, y) = deep(False).train(), deep(True, seed=1).eval(), batch(30)
    objective = Distillation(layers="all").prepared(teacher)
    optimiser = torch.optim.SGD(student.parameters(), lr=0.05)
    course = []
    for _ in range(25):
        terms = objective(student, x, y)
        course.append({name: term.item() for name, term in terms.items()})
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    for name in ("teacher_logits", "teacher_features"):
        assert course[-1][name] < 0.7 * course[0][name], name


def test_without_a_teacher_it_is_refused() -> None:
    with pytest.raises(UserError, match="give the recipe one under ann"):
        Distillation().prepared(None)
    with pytest.raises(UserError, match=r"no teacher: call what prepared\(ann\) returns"):
        Distillation()(deep(False), *batch())


def test_a_teacher_of_other_classes_is_refused() -> None:
    objective = Distillation().prepared(deep(True, classes=7))
    with pytest.raises(UserError, match="the teacher tells 7 classes apart, the network 5"):
        objective(deep(False), *batch())


@pytest.mark.parametrize(
    "other", [SmallCNN(widths=(3, 4, 6)), MLP(hidden=(8, 8, 8)), MLP(hidden=(8,)), MLP(hidden=())], ids=str
)
def test_a_teacher_of_another_architecture_is_refused_unless_answers_alone_count(other: object) -> None:
    teacher, (x, y) = deep(True, architecture=other), batch()
    for layers in ("last", "all"):
        with pytest.raises(UserError, match="the same architecture, or set feature_weight to 0"):
            Distillation(layers=layers).prepared(teacher)(deep(False), x, y)
    terms = Distillation(feature_weight=0.0).prepared(teacher)(deep(False), x, y)
    assert set(terms) == {"cross_entropy", "teacher_logits"}


def test_a_config_knows_nothing_of_the_teacher() -> None:
    objective = Distillation(temperature=3.0, layers="all")
    objective.prepared(deep(True))
    config = json.loads(json.dumps(to_config(objective)))
    assert set(config["init_args"]) == {
        "logit_weight", "feature_weight", "temperature", "layers", "label_smoothing"
    }  # fmt: skip
    assert from_config(config, Objective) == objective


def test_an_objective_around_it_hands_the_teacher_on() -> None:
    teacher, student = deep(True, seed=1), deep(False).eval()
    whole = RAT(beta=0.01, objective=Distillation())
    assert whole.needs_ann
    terms, alone = (o.prepared(teacher)(student, *batch()) for o in (whole, Distillation()))
    assert terms.keys() == alone.keys() == {"cross_entropy", "teacher_logits", "teacher_features"}
    assert all(torch.equal(terms[name], alone[name]) for name in terms)
    with pytest.raises(UserError, match="give the recipe one under ann"):
        whole.prepared(None)

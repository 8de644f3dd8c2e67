"""Does a targeted attack lead to the likeliest wrong classes in turn, take any mistake, and count what it spends?"""

import copy

import pytest
import torch
from outcomes import as_many, broken
from test_apgd import From
from torch import Tensor, nn

from spikeproof.attacks import (
    APGD,
    L2,
    PGD,
    Along,
    Attack,
    Linf,
    Targeted,
    TargetedDLR,
    TargetedMargin,
    adaptive,
)
from spikeproof.attacks.attack import Outcome
from spikeproof.attacks.losses import others
from spikeproof.attacks.query import Query, Task
from spikeproof.snn import ASSG, Memory, SpikingNetwork
from spikeproof.snn import recall as snn_recall

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


class Witness(Attack):
    """Moves nothing, and keeps the targets that it was given."""

    loss = TargetedMargin()

    def __init__(self) -> None:
        self.targets: list[Tensor] = []

    def search(self, task: Task) -> Outcome:
        self.targets.append(task.y)
        query = Query.over(task, eot=1)
        for rows in (torch.arange(len(task.x)), torch.arange(0, len(task.x), 2)):
            query.gradient(task.x[rows], self.loss, rows=rows)
        return Outcome(task.x, query.slots.gradients, query.slots.forwards)


def test_the_goals_are_the_likeliest_wrong_classes(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    witness = Witness()
    Targeted(attack=witness, classes=3)(trained, x, y, Linf(0.1))
    with torch.no_grad():
        logits = trained(x)
    for image, label in enumerate(y.tolist()):
        ranked = [c for c in logits[image].argsort(descending=True).tolist() if c != label]
        assert [target[image].tolist() for target in witness.targets] == [[label, goal] for goal in ranked[:3]]
    everything = Witness()
    Targeted(attack=everything, classes=99)(trained, x, y, Linf(0.1))
    assert len(everything.targets) == 9


def test_any_mistake_counts() -> None:
    """Three classes, the third out of reach: led to it, pixel 1 turns the label's class into the second."""

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            label, other = torch.full_like(x[:, 0], 1.0), 2 * x[:, 1]
            return torch.stack([label, other, other - 5], 1)

    x, y = torch.full((1, 2), 0.45), torch.tensor([0])
    rows = torch.tensor([[0, 2]])
    found = PGD(steps=3, start="clean", loss=TargetedMargin())(Model(), x, rows, Linf(0.1))
    assert Model()(found).argmax().item() == 1
    assert broken(Model(), Targeted(attack=PGD(steps=3, loss=TargetedMargin()))(Model(), x, y, Linf(0.1)), y).all()


def test_costs(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    """A look for the goals; then, for each class, four gradients, PGD's last look, and one at what it found.

    With `stop`, an image that a class breaks costs nothing more; the clean image is looked at once for all.
    """
    x, y = batch
    attack = Targeted(attack=PGD(steps=4, start="clean", loss=TargetedMargin(), eot=2), classes=3)
    whole, early = attack.run(trained, x, y, Linf(0.06)), attack.run(trained, x, y, Linf(0.06), stop=True)
    assert (whole.gradients == 3 * 4 * 2).all()
    assert (whole.forwards == (1 + 3 * (4 + 1 + 1)) * 2).all()
    held = ~broken(trained, early.x, y)
    assert 0 < held.sum() < len(x)
    assert (early.gradients[held] == 24).all()
    assert (early.gradients[~held] < 24).any()
    assert (early.gradients <= 24).all()
    assert torch.equal(~broken(trained, whole.x, y), held)


def test_more_classes_break_no_fewer(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    """Every class draws its own starts: what the first one breaks, three break."""
    inside = PGD(steps=6, loss=TargetedDLR())
    one, three = (
        broken(trained, Targeted(attack=inside, classes=n)(trained, *batch, Linf(0.06)), batch[1]) for n in (1, 3)
    )
    assert (three >= one).all()
    assert one.sum() > 5


def test_more_classes_reach_what_the_likeliest_does_not() -> None:
    """The likeliest wrong class is out of reach, the next one is not."""

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            label, near = torch.full_like(x[:, 0], 1.0), 0.95 - 0 * x[:, 0]
            return torch.stack([label, near, 2 * x[:, 1]], 1)

    x, y = torch.full((1, 2), 0.45), torch.tensor([0])
    inside = PGD(steps=3, start="clean", loss=TargetedMargin())
    one, two = (broken(Model(), Targeted(attack=inside, classes=n)(Model(), x, y, Linf(0.1)), y) for n in (1, 2))
    assert not one.any()
    assert two.all()


def test_averaging_reaches_the_attack_inside() -> None:
    assert Targeted().averaging(4) == Targeted(attack=APGD(loss=TargetedDLR(), eot=4))
    own = Targeted(attack=APGD(loss=TargetedDLR(), eot=2))
    assert own.averaging(4) == own
    assert Along(attack=Targeted()).averaging(4) == Along(attack=Targeted().averaging(4))


def test_inside_along_memories_follow_the_images(
    trained: SpikingNetwork, digits: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images 1 and 3 are wrong from the start; where breaks end it, images 0, 2 and 4 of the batch are left.

    An image has a row that is not zero once a gradient was about it. Each class is a search of its own, and nothing is
    remembered from one to the next.
    """
    recalled: list[list[bool]] = []

    def recall(model: nn.Module, memory: Memory | None, *, learn: bool = True) -> None:
        recalled.append([bool(row.any()) for row in memory[0]] if memory else [])
        snn_recall(model, memory, learn=learn)

    monkeypatch.setattr(adaptive, "recall", recall)
    x, y = digits[2][:5], digits[3][:5].clone()
    with torch.no_grad():
        y[:] = trained(x).argmax(1)
    y[[1, 3]] = (y[[1, 3]] + 1) % 10
    witness = Witness()
    along = Along(attack=Targeted(attack=witness, classes=2), paths=(ASSG(),))
    outcome = along.run(trained, x, y, Linf(0.1), stop=True)
    assert recalled == [[], [True] * 3, [], [True] * 2]  # all, every other one, what is left, every other one
    assert outcome.gradients.tolist() == [4, 1, 3, 1, 4]  # the witness looks at all, then at every other one


@pytest.mark.parametrize("threat", [Linf(0.06), L2(0.4)], ids=str)
def test_pyautoattack_finds_as_many(
    threat: Linf | L2, trained_ann: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    base = pytest.importorskip("pyautoattack.autopgd_base")
    x, y = batch
    theirs = base.APGDAttack_targeted(
        trained_ann, n_iter=20, norm=threat.norm, eps=threat.eps, n_target_classes=3, device="cpu"
    )
    found = theirs.perturb(x.clone(), y)
    attack = Targeted(attack=APGD(steps=20, loss=TargetedDLR()), classes=3)
    ours = broken(trained_ann, attack(trained_ann, x, y, threat), y).sum()
    assert ours == pytest.approx(broken(trained_ann, found, y).sum(), abs=1)
    assert 5 < ours < len(y)


def test_from_the_same_starts_pyautoattack_breaks_the_same_images(
    trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """Image by image, class by class: what is left to chance is the starts alone."""
    base = pytest.importorskip("pyautoattack.autopgd_base")
    model, x, y = copy.deepcopy(trained).double(), batch[0].double(), batch[1]
    theirs = base.APGDAttack_targeted(model, n_iter=20, norm="Linf", eps=0.06, device="cpu")
    theirs.init_hyperparam(x)
    ranked = others(model(x).detach(), y).argsort(1, descending=True)
    attack, broke = APGD(steps=20, loss=TargetedDLR()), 0
    for number in range(3):
        torch.manual_seed(number)
        start = (x + 0.06 * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
        theirs.y_target = goal = ranked[:, number]
        _, right, *_ = theirs.attack_single_run(x, y, x_init=start)
        found = attack.run(model, x, torch.stack([y, goal], 1), From(0.06, start), stop=False)
        assert torch.equal(found.broken, ~right)
        broke += int((~right).sum())
    assert 5 < broke < 3 * len(x)


def test_torchattacks_finds_no_more(trained: SpikingNetwork, digits: Examples) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    x, y = digits[2][:60], digits[3][:60]
    theirs = torchattacks.APGDT(trained, eps=0.06, steps=10, n_classes=4)(x, y)
    attack = Targeted(attack=APGD(steps=10, loss=TargetedDLR()), classes=3)
    ours = broken(trained, attack(trained, x, y, Linf(0.06)), y)
    assert as_many(ours, broken(trained, theirs, y))
    assert 10 < ours.sum() < len(y)

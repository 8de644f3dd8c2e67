"""Does a step of training ever wait for the device? On a GPU each look at a tensor's value would stop the host."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import spikeproof as sp
from spikeproof.data import augment
from spikeproof.objectives import GaussianNoise
from spikeproof.training.batches import Batches
from spikeproof.training.checkpoints import Reached, State
from spikeproof.training.losses import Losses
from spikeproof.training.steps import take_step

PACKAGE = Path(sp.__file__).parent
aten = torch.ops.aten
LOOKS = {aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select}
# The attack looks once or twice at its images and its first answer, and the engine which images are done.
MAY_LOOK = ("attacks", "calling.py")
OF_A_TENSOR = ("tolist", "numpy", "cpu")  # these read memory without an operator


class Looked(AssertionError):
    """A value that would lie on an accelerator was asked for by the host."""


class NoLooking(TorchDispatchMode):
    """Refuses operators that give the host a value which was computed from `there`, tensors on the device.

    On a CPU all memory is the host's. So what would be on an accelerator is followed from operator to operator.
    """

    def __init__(self, there: list[torch.Tensor]) -> None:
        super().__init__()
        self.there = {memory(tensor) for tensor in there}
        self.kept = list(there)  # so that no other tensor gets the memory of one of these

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        reached = any(memory(tensor) in self.there for tensor in given)
        if reached and looks(operator, args) and (place := asked_from()) is not None:
            raise Looked(f"{operator} from {place}")
        answer = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(answer):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor, reached)
        return answer

    def _follow(self, tensor: torch.Tensor, reached: bool) -> None:
        if reached and memory(tensor) not in self.there:
            self.there.add(memory(tensor))
            self.kept.append(tensor)


def memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def looks(operator, args) -> bool:
    """Whether the operator tells the host a value, or has a result whose shape depends on values."""
    packet = operator.overloadpacket
    masked = packet in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_) and any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )
    return packet in LOOKS or masked


def asked_from() -> str | None:
    """The line of spikeproof that asks; None where it may."""
    frame = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            place = path.relative_to(PACKAGE)
            return None if place.parts[0] in MAY_LOOK else f"{place}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside"


@contextmanager
def no_looking(there: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    guard = NoLooking(there)
    with monkeypatch.context() as patch, guard:
        for name in OF_A_TENSOR:
            patch.setattr(torch.Tensor, name, refusing(guard, name, getattr(torch.Tensor, name)))
        # on a CPU, unlike on a GPU, this one looks whether the labels are in range
        patch.setattr(torch.nn.functional, "one_hot", lambda y, k: (y[:, None] == torch.arange(k)).long())
        yield


def refusing(guard: NoLooking, name: str, read):
    def call(tensor, *args, **kwargs):
        if memory(tensor) in guard.there and (place := asked_from()) is not None:
            raise Looked(f"{name} from {place}")
        return read(tensor, *args, **kwargs)

    return call


EPS = {"threat": sp.Linf(0.1)}
PGD = {"attack": sp.PGD(steps=2, keep="last")} | EPS
OBJECTIVES = [
    sp.Standard(label_smoothing=0.1),
    GaussianNoise(),
    sp.Adversarial(**PGD, clean_weight=0.5),
    sp.TRADES(**EPS),
    sp.MART(**EPS),
    sp.RAT(objective=sp.Adversarial(**PGD)),
    sp.SparseGradient(clamp=True),
    sp.SparseGradient(**PGD, freeze_statistics=True),
    sp.StablePotential(**EPS),
    sp.ThresholdGuarding(),
    sp.Distillation(),
]


def recipe(objective: sp.Objective, **changes) -> sp.Recipe:
    network = sp.Network(architecture=sp.SmallCNN(widths=(4, 4, 4)), neuron=sp.PLIF(), steps=2)
    ann = sp.Recipe(name="ann", network=replace(network, neuron=sp.ReLU(), steps=1))
    training = sp.Training(batch=8, gradient_clip=1.0, average=0.9, optimiser=sp.SGD(learning_rate=0.01))
    augmentation = (sp.RandomCrop(padding=1), sp.HorizontalFlip(), sp.Cutout(size=2))
    return sp.Recipe(
        name="a",
        data=sp.Digits(train_images=24, augmentation=augmentation),
        network=network,
        objective=objective,
        training=replace(training, **changes),
        ann=ann if objective.needs_ann else None,
    )


def three_steps(chosen: sp.Recipe, monkeypatch: pytest.MonkeyPatch) -> Losses:
    """An epoch of three steps under guard; its losses, which nobody has read."""
    device = torch.device("cpu")
    state = State.fresh(chosen, device)
    terms = chosen.objective.prepared(chosen.ann and chosen.ann.build())
    batches = Batches(chosen.data.part("train"), size=8, seed=0, device=device)
    losses = Losses(0, len(batches), Reached())
    held = [batches.images.pixels.stored, batches.images.rows, batches.images.labels]
    with no_looking([*state.model.state_dict().values(), *held], monkeypatch):
        for x, y in batches.of(0):
            losses.add(*take_step(chosen, terms, state, x, y, 0.01))
    return losses


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_a_step_never_looks_at_a_value(objective, monkeypatch):
    losses = three_steps(recipe(objective), monkeypatch)
    assert losses.done == 0
    losses.read()
    assert losses.done == 3
    assert all(value == value for value in losses.sums.values())


def test_nor_does_one_with_a_learning_rate_for_each_weight(monkeypatch):
    three_steps(recipe(sp.Standard(), optimiser=sp.AdamW(), gradient_clip=None), monkeypatch).read()


@pytest.mark.parametrize("step", [sp.NDA(), sp.EventDrop()])
def test_nor_does_an_augmentation_of_frames(step, monkeypatch):
    frames = torch.rand(4, 3, 2, 8, 8)
    with no_looking([frames], monkeypatch):
        assert augment(frames, [step]).shape == frames.shape


@pytest.mark.parametrize(
    "look",
    [
        lambda x: (x * 2).sum().item(),
        lambda x: float(x[0, 0]),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0.5],
        lambda x: x.mean(0).tolist(),
        lambda x: (x > 0).nonzero(),
        lambda x: x.detach().cpu(),
    ],
)
def test_the_guard_sees_a_look(look, monkeypatch):
    x = torch.rand(3, 3)
    with no_looking([x], monkeypatch), pytest.raises(Looked):
        look(x)


def test_the_guard_lets_the_host_read_its_own(monkeypatch):
    with no_looking([torch.rand(3)], monkeypatch):
        assert int(torch.randint(2**62, ())) >= 0

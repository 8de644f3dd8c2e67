"""Does what is found for an image depend on that image alone, and does the engine keep its slots full?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from spikeproof.attacks import (
    APGD,
    DLR,
    FAB,
    FGSM,
    L1,
    L2,
    PGD,
    RFGSM,
    SAPGD,
    SCG,
    SDA,
    Along,
    Annealing,
    Attack,
    CarliniWagner,
    DeepFool,
    EventEdits,
    EventFlips,
    Gumbel,
    Linf,
    Margin,
    NormalNoise,
    Retiming,
    SparseAttack,
    SpikeFool,
    SpikeRetiming,
    Square,
    SteepestRetiming,
    Targeted,
    TargetedDLR,
    TargetedMargin,
    Threat,
    UniformNoise,
)
from spikeproof.attacks.annealing import Walk
from spikeproof.attacks.attack import Outcome
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.query import Memory, Query, Task
from spikeproof.choices import short
from spikeproof.randomness import Streams
from spikeproof.snn import ASSG, MLP, ATan, Network, Triangle, recall, remembered, view

SEED = 3


class Rows(nn.Module):
    """A linear layer that adds up row by row: a batch of any size rounds alike, which a matrix product does not."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(1) * self.weight).sum(2) + self.bias


class Batch(NamedTuple):
    """A network, images or frames, labels that it mostly gives, and the images' numbers in a data set."""

    model: nn.Module
    x: Tensor
    y: Tensor
    index: Tensor

    def of(self, rows: Tensor) -> "Batch":
        return Batch(self.model, self.x[rows], self.y[rows], self.index[rows])


def small(*shape: int, whole: bool = False, images: int = 7) -> Batch:
    """Seven images, or recordings of whole events, of this shape; the network is wrong about the fourth."""
    torch.manual_seed(1)
    x = torch.rand(images, *shape, dtype=torch.float64)
    x = (x < 0.4).double() if whole else x
    pixels = x[0].numel()
    model = nn.Sequential(nn.Flatten(), Rows(pixels, 12), nn.ReLU(), Rows(12, 5)).double().eval()
    with torch.no_grad():
        y = model(x).argmax(1)
    y[3] = (y[3] + 1) % 5
    return Batch(model, x, y, torch.tensor([40, 7, 19, 3, 88, 61, 5])[:images])


def spiking() -> Batch:
    model = Network(architecture=MLP(hidden=(10,)), steps=3).build((1, 4, 4), 5, seed=4).double().eval()
    batch = small(1, 4, 4)
    with torch.no_grad():
        y = model(batch.x).argmax(1)
    y[3] = (y[3] + 1) % 5
    return batch._replace(model=model, y=y)


ANNEALING = Annealing(climb=SAPGD(steps=3, loss=TargetedMargin()), climbs=6, chains=4, rounds=3, proposals=3, near=1.0)
ON_IMAGES: list[tuple[Attack, Threat]] = [
    (FGSM(), Linf(0.05)),
    (RFGSM(), L2(0.2)),
    (PGD(steps=4, restarts=3), Linf(0.05)),
    (PGD(steps=4, restarts=2, start="near", momentum=0.8), L2(0.2)),
    (PGD(steps=4, start="clean", momentum=1.0, nesterov=True), Linf(0.05)),
    (PGD(steps=3, keep="last", eot=2), L1(0.5)),
    (APGD(steps=8, restarts=2), Linf(0.05)),
    (APGD(steps=6, loss=DLR()), L1(0.5)),
    (SAPGD(steps=6, restarts=2), Linf(0.05)),
    (FAB(steps=4, classes=2, restarts=2), Linf(0.05)),
    (FAB(steps=4, classes=2), L2(0.2)),
    (CarliniWagner(steps=5, searches=3, learning_rate=0.05), L2(0.2)),
    (DeepFool(steps=5), L2(0.2)),
    (Square(queries=12, restarts=2), Linf(0.05)),
    (Square(queries=12), L2(0.2)),
    (Square(queries=12, proposals=3), Linf(0.05)),
    (Square(queries=12, proposals=4, restarts=2), L1(0.5)),
    (Square(queries=12), L1(0.5)),
    (UniformNoise(draws=4), Linf(0.05)),
    (NormalNoise(draws=3), L2(0.2)),
    (Targeted(attack=APGD(steps=4, loss=TargetedDLR()), classes=3), Linf(0.05)),
    (ANNEALING, Linf(0.05)),
    (replace(ANNEALING, eot=2, climbs=2), L2(0.2)),
]
ON_EVENTS: list[tuple[Attack, Threat]] = [
    (SCG(steps=4, restarts=2), EventFlips(3)),
    (SCG(steps=4), EventEdits(3)),
    (Gumbel(steps=5, restarts=2), EventFlips(3)),
    (Gumbel(steps=4, draws=2), EventEdits(3)),
    (SDA(steps=3, first=4), EventFlips(3)),
    (SDA(steps=3, first=4), EventEdits(3)),
    (SpikeFool(steps=4, inner=3, classes=3), EventFlips(3)),
    (SpikeFool(steps=4, inner=3, classes=3), EventEdits(3)),
    (SparseAttack(steps=4, learning_rate=0.5), EventFlips(3)),
    (SpikeRetiming(steps=4, restarts=2), Retiming(1)),
    (SpikeRetiming(steps=4, restarts=2), Retiming(3, by="moved")),
    (SteepestRetiming(steps=4, restarts=2), Retiming(3, by="delay")),
    (UniformNoise(draws=3), EventFlips(3)),
    (UniformNoise(draws=3), Retiming(1)),
]
ON_SPIKES: list[tuple[Attack, Threat]] = [
    (Along(attack=PGD(steps=4, restarts=2, loss=Margin()), paths=(ASSG(), Triangle())), Linf(0.05)),
    (Along(attack=APGD(steps=6), paths=(ASSG(), ATan())), Linf(0.05)),
    (Along(attack=FAB(steps=3, classes=2), paths=(ASSG(),)), L2(0.2)),
    (Along(attack=PGD(steps=3, eot=2), paths=(ASSG(),)), L2(0.2)),
    (Along(attack=ANNEALING, paths=(ASSG(),)), Linf(0.05)),
    (SAPGD(steps=5), Linf(0.05)),
]


def named(value: object) -> str:
    return short(value) if isinstance(value, Attack) else str(value)


stopping = pytest.mark.parametrize("stop", [False, True], ids=["to the end", "stop"])


@stopping
@pytest.mark.parametrize(("attack", "threat"), ON_IMAGES, ids=named)
def test_an_image_is_attacked_as_it_is_alone(attack: Attack, threat: Threat, stop: bool) -> None:
    check_independence(attack, threat, small(1, 4, 4), stop, exactly)


@stopping
@pytest.mark.parametrize(("attack", "threat"), ON_EVENTS, ids=named)
def test_a_recording_is_attacked_as_it_is_alone(attack: Attack, threat: Threat, stop: bool) -> None:
    check_independence(attack, threat, small(4, 2, 3, 3, whole=True), stop, exactly)


@stopping
@pytest.mark.parametrize(("attack", "threat"), ON_SPIKES, ids=named)
def test_a_spiking_network_is_attacked_image_by_image(attack: Attack, threat: Threat, stop: bool) -> None:
    """To rounding: the matrix products of its layers round otherwise in a batch of another size."""
    check_independence(attack, threat, spiking(), stop, nearly)


def exactly(found: Tensor, expected: Tensor) -> bool:
    return torch.equal(found, expected)


def nearly(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=1e-12)


def check_independence(
    attack: Attack, threat: Threat, batch: Batch, stop: bool, same: Callable[[Tensor, Tensor], bool]
) -> None:
    """Whatever the width, the order and the other images are, or where halves are attacked apart."""

    def attacked(rows: Tensor, width: int | None = None) -> Outcome:
        model, x, y, index = batch.of(rows)
        return attack.run(model, x, y, threat, seed=SEED, stop=stop, index=index, width=width)

    count = len(batch.x)
    everyone = torch.arange(count)
    whole = attacked(everyone)
    assert not torch.equal(whole.x, batch.x)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    cases = [(everyone, width) for width in (1, 2, 3)]
    cases += [(order, None), (order, 3), (order[2:5], None), (everyone[:4], 2), (everyone[4:], None)]
    for rows, width in cases:
        found = attacked(rows, width)
        assert same(found.x, whole.x[rows]), (rows, width)
        assert torch.equal(found.gradients, whole.gradients[rows]), (rows, width)
        assert torch.equal(found.forwards, whole.forwards[rows]), (rows, width)


def test_images_of_other_numbers_draw_other_lots() -> None:
    model, x, y, index = small(1, 4, 4)
    attack = UniformNoise()
    first, same, other = (
        attack.run(model, x, y, Linf(0.05), seed=SEED, index=numbers).x for numbers in (index, index, index + 1)
    )
    assert torch.equal(first, same)
    assert not (first == other).flatten(1).all(1).any()
    assert not torch.equal(attack.run(model, x, y, Linf(0.05), seed=SEED + 1, index=index).x, first)


# A step never looks at the host.

STATIC = [
    (attack, threat)
    for attack, threat in [*ON_IMAGES, *((a, t) for a, t in ON_SPIKES if isinstance(a, Iterative))]
    if isinstance(attack, Iterative)
]
STATIC.append((Walk(ANNEALING, small(4, 1, 4, 4).x, torch.full((7,), 0.1)), Linf(0.05)))


def traced(attack: Iterative, threat: Threat, batch: Batch, memory: Memory | None = None) -> None:
    """Trace a step of all images, the second: whatever looks at a value of a tensor raises."""
    model, x, y, index = batch
    task = Task(model, x, y, threat, Streams.of(SEED, index), stop=True, memory=memory)
    query = Query.over(task, eot=attack.eot)
    if attack.looks_first:
        query.slots = query.slots._replace(first=query.logits(x))
    state = attack.begin(query)
    query.slots = query.slots._replace(number=query.slots.number + 1)
    state = attack.step(query, state)  # for real: what a path remembers has its shape from here on
    leaves, shape = tree_flatten((state, query.slots))

    def step(*given: Tensor) -> list[Tensor]:
        state, slots = tree_unflatten(list(given), shape)
        asked = Query(task, slots._replace(number=slots.number + 1), attack.eot)
        asked.checked = True
        found, _ = tree_flatten((attack.step(asked, state), asked.slots))
        return found

    graph = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(*leaves)
    assert len(graph.graph.nodes) > len(leaves)


@pytest.mark.parametrize(("attack", "threat"), STATIC, ids=named)
def test_a_static_step_never_looks_at_the_host(attack: Iterative, threat: Threat) -> None:
    assert attack.static
    traced(attack, threat, small(1, 4, 4))


@pytest.mark.parametrize("path", [Triangle(), ATan(), ASSG()], ids=named)
@pytest.mark.parametrize("attack", [PGD(steps=4), APGD(steps=4), SAPGD(steps=4)], ids=named)
def test_nor_does_one_along_a_path(attack: Iterative, path: Any) -> None:
    batch = spiking()
    traced(attack, Linf(0.05), batch._replace(model=view(batch.model, gradient=path)), Memory(recall, remembered))


def test_a_step_that_looks_is_found() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Looking(PGD):
        def step(self, query: Query, state: Any) -> Any:
            return state if (state.z > 2).any() else super().step(query, state)

    with pytest.raises(Exception, match=r"data-dependent|item|bool"):
        traced(Looking(), Linf(0.05), small(1, 4, 4))


def test_every_class_that_says_it_is_static_is_traced() -> None:
    def below(kind: type) -> set[type]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    kinds = {kind for kind in below(Iterative) if kind.__module__.startswith("spikeproof.") and kind.static}
    final = {kind for kind in kinds if not kind.__abstractmethods__}
    assert final == {type(attack) for attack, _ in STATIC}


# Slots.


class Counting(nn.Module):
    """How many images each pass was about, and, where an image carries its number, which."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.model(x)


def test_slots_are_full_while_images_wait() -> None:
    """An image that is broken leaves its slot to the next one: no pass is about fewer until the queue is empty."""
    batch = small(1, 4, 4)
    model = Counting(batch.model)
    attack = PGD(steps=6, restarts=2)
    outcome = attack.run(model, batch.x, batch.y, Linf(0.05), seed=SEED, stop=True, index=batch.index, width=3)
    assert len(outcome.gradients.unique()) > 2
    assert sum(model.sizes) == outcome.forwards.sum()
    assert max(model.sizes) == 3
    steps = int(outcome.gradients.sum())
    looks = int((outcome.forwards - outcome.gradients).sum())
    assert len(model.sizes) <= steps / 3 + looks + 2 * 12  # only the last images have slots to spare


@pytest.mark.parametrize("width", [1, 3, None])
def test_costs_are_those_of_each_image(width: int | None) -> None:
    """The fourth image is wrong as it is, from a clean start: one look, and its slot is the next one's."""
    batch = small(1, 4, 4)
    outcome = PGD(steps=5, start="clean").run(*batch[:3], Linf(1e-6), stop=True, width=width)
    assert outcome.gradients.tolist() == [5, 5, 5, 1, 5, 5, 5]
    assert outcome.forwards.tolist() == [6, 6, 6, 1, 6, 6, 6]  # and a look at the last of the others
    assert torch.equal(outcome.x[3], batch.x[3])


def test_legs_follow_each_other_and_begin_anew() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Noted(PGD):
        def begin(self, query: Query) -> Any:
            begun.append((query.slots.place.tolist(), query.slots.leg.tolist(), query.count.tolist()))
            return super().begin(query)

    begun: list[tuple[list[int], list[int], list[int]]] = []
    batch = small(1, 4, 4, images=4)
    outcome = Noted(steps=2, restarts=3).run(*batch[:3], Linf(1e-6), width=2)
    assert [legs for _, legs, _ in begun] == [[0, 0], [1, 1], [2, 2]] * 2
    assert [places for places, _, _ in begun] == [[0, 1]] * 3 + [[2, 3]] * 3
    assert all(not any(count) for _, _, count in begun)
    assert outcome.gradients.tolist() == [6] * 4
    begun.clear()
    Noted(steps=2, restarts=3).run(*batch[:3], Linf(1e-6), stop=True, width=2)
    assert [place for places, _, _ in begun for place in places].count(3) == 1  # broken in its first leg


def test_the_first_look_is_one_for_all_legs() -> None:
    batch = small(1, 4, 4)
    outcome = FAB(steps=3, classes=2, restarts=2).run(*batch[:3], L2(1e-3), width=2)
    held = torch.arange(7) != 3
    assert (outcome.gradients[held] == 2 * 2 * 3).all()
    assert (outcome.forwards[held] == 1 + 2 * 2 * 3 * 2).all()
    assert outcome.gradients[3] == 0  # wrong as it is: nothing lies nearer
    assert outcome.forwards[3] == 1


def test_the_last_iterate_alone_is_never_looked_at() -> None:
    batch = small(1, 4, 4)
    model = Counting(batch.model)
    outcome = PGD(steps=3, keep="last").run(model, batch.x, batch.y, Linf(0.05), width=4)
    assert model.sizes == [4] * 3 + [3] * 3
    assert outcome.forwards.tolist() == [3] * 7


def test_no_images_are_no_work() -> None:
    batch = small(1, 4, 4)
    nobody = torch.arange(0)
    for attack in (PGD(steps=2), FAB(steps=2), Square(queries=2), Along(attack=PGD(steps=2), paths=(ASSG(),))):
        task = Task(batch.model, batch.x[:0], batch.y[:0], Linf(0.05), Streams.of(SEED, nobody), stop=True)
        found = attack.search(task)
        assert found.x.shape == (0, 1, 4, 4)
        assert len(found.gradients) == len(found.forwards) == 0


@pytest.mark.parametrize("attack", [PGD(steps=3, restarts=2), APGD(steps=4), SAPGD(steps=4), FGSM()], ids=named)
def test_a_gradient_that_is_no_number_spoils_its_own_image_at_most(attack: Attack) -> None:
    class Cliff(nn.Module):
        """The gradient of dark images is NaN."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            dark = x.flatten(1)[:, :1].detach() < 0.2
            edge = (0 * x.flatten(1).sum(1, keepdim=True) + ~dark).sqrt()  # at 0 its gradient is 0 times infinity
            return self.model(x) + dark * edge

    model, x, y, index = small(1, 4, 4)
    x[:, 0, 0, 0] = 0.5
    x[2, 0, 0, 0] = 0.0
    y = model(x).argmax(1)
    found = attack.run(Cliff(model), x, y, Linf(0.05), seed=SEED, index=index)
    assert Linf(0.05).contains(found.x, x).all()
    others = torch.arange(7) != 2
    expected = attack.run(model, x, y, Linf(0.05), seed=SEED, index=index)
    assert torch.equal(found.x[others], expected.x[others])
    assert not torch.equal(found.x[2], expected.x[2])

"""Does all that runs on a GPU keep its tensors on one device? Tried on a CPU, on a device that pretends.

The CPU computes its numbers all the same. So what is found there has to be what is found on the CPU, to the last bit.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikeproof import calling
from spikeproof.attacks import (
    APGD,
    FAB,
    FGSM,
    L1,
    L2,
    PGD,
    Attack,
    EventEdits,
    EventFlips,
    FrameLinf,
    HopSkipJump,
    Linf,
    Retiming,
    Square,
    Threat,
    UniformNoise,
)
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.query import Query, Task
from spikeproof.calling import predict
from spikeproof.choices import short
from spikeproof.controls import OfTheBatch, Outside, Stateful, with_layers
from spikeproof.evaluation import Protocol, Suite, evaluate
from spikeproof.evaluation.flags import trials
from spikeproof.objectives import Objective
from spikeproof.randomness import Streams
from spikeproof.registry import known
from spikeproof.snn import Encoder, Network, ReLU, SmallCNN
from spikeproof.training import train
from tests import trained as kept
from tests.attacks.shortened import cheap, cheap_attacks
from tests.pretended import NAME, Elsewhere, Pretending, pretended_device
from tests.test_on_the_device import RECIPE, Killed, killing

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real one is here: pytest --device cuda")

ON_EVENTS = [EventFlips(4), EventEdits(4), Retiming(1), FrameLinf(0.5)]
PAIRS: list[tuple[Attack, Threat]] = [(attack, Linf(0.1)) for attack in cheap_attacks(Linf())]
PAIRS += [(cheap(kind()), threat) for kind in (PGD, APGD, FAB, Square) for threat in (L2(1.0), L1(4.0))]
PAIRS += [(attack, threat) for threat in ON_EVENTS for attack in cheap_attacks(threat) if threat.kind != "frames"]
PAIRS += [(cheap(PGD()), FrameLinf(0.5)), (cheap(Square()), FrameLinf(0.5)), (cheap(HopSkipJump()), L2(1.0))]
# A random recording of another timing, or of edits, is drawn with the host's help.
DRAWN_BY_THE_HOST = [(UniformNoise, "events"), (UniformNoise, "retiming")]
STATIC = [
    (attack, threat)
    for attack, threat in PAIRS
    if isinstance(attack, Iterative) and attack.static and (type(attack), threat.kind) not in DRAWN_BY_THE_HOST
]


@pytest.fixture
def device() -> Iterator[Pretending]:
    with pretended_device() as pretending:
        yield pretending


def here_and_there(threat: Threat) -> tuple[tuple[nn.Module, Tensor, Tensor], ...]:
    """A network and three inputs on the CPU, and the same on the device."""
    name = "digits_snn" if threat.kind == "images" else "bars_snn"
    model, (x, y) = kept.trained(name), kept.examples(name, "test")
    return (model, x[:3], y[:3]), (copy.deepcopy(model).to(NAME), x[:3].to(NAME), y[:3].to(NAME))


# The pretended device itself.


def test_it_refuses_what_cuda_refuses(device: Pretending) -> None:
    x = torch.rand(3, 2).to(NAME)
    assert x.device == torch.device(NAME, 0)
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.rand(3, 2)
    with pytest.raises(RuntimeError, match="indices should be"):
        torch.rand(3)[torch.tensor([0]).to(NAME)]
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, generator=torch.Generator(), device=NAME)
    with pytest.raises(RuntimeError, match="numpy"):
        x.numpy()


def test_it_takes_what_cuda_takes(device: Pretending) -> None:
    x = torch.rand(3, 2).to(NAME)
    assert isinstance(x[torch.tensor([2, 0])], Elsewhere)
    assert isinstance(x + torch.tensor(2.0), Elsewhere)
    assert isinstance(torch.tensor([1.0], device=x.device), Elsewhere)
    assert not isinstance(x.cpu(), Elsewhere)
    x.requires_grad_()
    (slope,) = torch.autograd.grad((x * x).sum(), x)
    assert torch.equal(slope.cpu(), 2 * x.detach().cpu())


def test_it_notes_for_what_the_host_waits(device: Pretending) -> None:
    x = torch.rand(3).to(NAME)
    torch.where(x > 0.5, x, 0) + x.sum()
    assert device.waits == []
    assert x.max().item() >= 0
    x.cpu()
    assert len(device.waits) == 2
    x[x > 0.5]
    assert len(device.waits) == 3


# What runs on it.


@pytest.mark.parametrize(("attack", "threat"), PAIRS, ids=[f"{short(a)}-{t}" for a, t in PAIRS])
def test_attacks_find_the_same(attack: Attack, threat: Threat, device: Pretending) -> None:
    here, there = here_and_there(threat)
    found = attack.run(*there, threat, seed=1)
    expected = attack.run(*here, threat, seed=1)
    assert torch.equal(found.x.cpu(), expected.x)
    assert torch.equal(found.gradients.cpu(), expected.gradients)
    assert torch.equal(found.forwards.cpu(), expected.forwards)


@pytest.mark.parametrize(("attack", "threat"), STATIC, ids=[f"{short(a)}-{t}" for a, t in STATIC])
def test_a_static_step_never_waits(attack: Iterative, threat: Threat, device: Pretending) -> None:
    """Else it could not be captured as a graph, and every step would wait for the device."""
    _, (model, x, y) = here_and_there(threat)
    query = Query.over(
        Task(model, x, y, threat, Streams.of(0, torch.arange(3, device=x.device)), stop=True), attack.eot
    )
    query.checked = True
    if attack.looks_first:
        query.slots = query.slots._replace(first=model(x).detach())
    state = attack.begin(query)
    for number in (1, 2, 3):
        query.slots = query.slots._replace(number=torch.full_like(query.slots.number, number))
        device.waits.clear()
        state = attack.step(query, state)
        assert device.waits == []


def test_random_numbers_are_the_same(device: Pretending) -> None:
    index = torch.tensor([0, 5, 2**40])
    here, there = Streams.of(3, index), Streams.of(3, index.to(NAME))
    for streams in (lambda s: s, lambda s: s.turn(4), lambda s: s.at(s.key * 0 + 7)):
        assert torch.equal(streams(there).bits(4).cpu(), streams(here).bits(4))
    like = torch.zeros(1)
    assert torch.equal(there.normal(5, like=like.to(NAME)).cpu(), here.normal(5, like=like))


def test_a_model_is_asked_the_same(device: Pretending) -> None:
    (model, x, _), (other, there, _) = here_and_there(Linf())
    assert torch.equal(predict(other, there, width=8), predict(model, x, width=8))
    assert torch.equal(predict(other, x, width=8), predict(model, x, width=8))  # images may lie elsewhere


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "STEPS", (2, 3, 4, 5))
    shorter = trials.PIXELS._replace(control=Square(queries=8), unbounded=PGD(steps=5))
    monkeypatch.setitem(trials.TOOLS, "images", shorter)
    monkeypatch.setattr(calling, "WIDTH", 32)


@pytest.mark.usefixtures("briefly")
def test_verdicts_are_the_same(device: Pretending) -> None:
    model, (x, y) = kept.trained("digits_snn"), kept.examples("digits_snn", "test")
    suite = Suite(name="short", attacks=(FGSM(), PGD(steps=3), Square(queries=5)), examined=4)
    protocol = Protocol(threats=(Linf(0.05), Linf(0.1)), suite=suite, images=12)
    there = evaluate(copy.deepcopy(model).to(NAME), (x, y), protocol)
    here = evaluate(model, (x, y), protocol)
    assert there.diagnosis == here.diagnosis
    for name, array in here.arrays().items():
        assert (there.arrays()[name] == array).all(), name
    assert [(flag.key, flag.number) for flag in there.flags] == [(flag.key, flag.number) for flag in here.flags]


@pytest.mark.usefixtures("briefly")
def test_networks_that_hide_are_flagged_there(device: Pretending) -> None:
    model, (x, y) = kept.trained("digits_snn").to(NAME), kept.examples("digits_snn", "test")
    protocol = Protocol(threats=Linf(0.1), suite=Suite(name="short", attacks=(FGSM(),)), images=8)
    hidden = (OfTheBatch(model), Outside(model, Tensor.detach), with_layers(model, Stateful))
    raised = [
        [flag.key for flag in evaluate(network, (x, y), protocol).flags if flag.raised] for network in (model, *hidden)
    ]
    assert raised[0] == []
    assert "batch-dependence" in raised[1]
    assert "zero-gradients" in raised[2]
    assert raised[3] == ["stateful"]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_training_ends_in_the_same_weights_and_goes_on_where_it_was(device: Pretending, tmp_path: Path) -> None:
    expected = train(RECIPE, tmp_path / "here", device="cpu")
    with pytest.raises(Killed):
        train(RECIPE, tmp_path / "there", device=NAME, progress=killing)
    assert same_weights(train(RECIPE, tmp_path / "there", device=NAME), expected)


@pytest.mark.parametrize("kind", known(Objective).values(), ids=lambda kind: kind.__name__)
def test_objectives_give_the_same_terms(kind: type[Objective], device: Pretending) -> None:
    found = []
    for place in ("cpu", NAME):
        torch.manual_seed(0)
        model, ann = (
            Network(architecture=SmallCNN(widths=(2, 3, 4)), steps=steps, **neuron).build((1, 8, 8), 5).to(place)
            for steps, neuron in ((2, {}), (1, {"neuron": ReLU()}))
        )
        objective = kind()
        if isinstance(getattr(objective, "attack", None), Attack):
            objective = replace(objective, attack=cheap(objective.attack))  # type: ignore[type-var]
        x, y = torch.rand(4, 1, 8, 8).to(place), (torch.arange(4) % 5).to(place)
        terms = objective.prepared(ann)(model, x, y)
        sum(terms.values()).backward()  # type: ignore[union-attr]
        found.append([*terms.values(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(a, b.cpu()) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("kind", known(Encoder).values(), ids=lambda kind: kind.__name__)
def test_encoders_give_the_same_sequence(kind: type[Encoder], device: Pretending) -> None:
    encoder, x = kind(), torch.rand(2, 3, 2, 4, 4) if kind().framed else torch.rand(2, 2, 4, 4)
    found = []
    for place in ("cpu", NAME):
        torch.manual_seed(0)
        found.append(encoder(x.to(place), 3).cpu())
    assert torch.equal(*found)

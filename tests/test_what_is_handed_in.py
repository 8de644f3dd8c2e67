"""Is what does not fit - types, devices, modes, labels, sizes - refused in clear words, and never judged wrongly?"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from spikeproof.attacks import (
    APGD,
    FAB,
    FGSM,
    L1,
    L2,
    PGD,
    SAPGD,
    Attack,
    CarliniWagner,
    DeepFool,
    EventFlips,
    FrameLinf,
    HopSkipJump,
    Linf,
    Retiming,
    Square,
    Targeted,
    TargetedDLR,
    Threat,
    TwinTransfer,
    UniformNoise,
)
from spikeproof.attacks.attack import Outcome, Whole
from spikeproof.attacks.inputs import check_images
from spikeproof.choices import UserError
from spikeproof.evaluation import Protocol, Suite, diagnose, evaluate, predict, probe
from spikeproof.evaluation.protocol import as_protocol
from spikeproof.training import SGD, Training

PROTOCOL = Protocol(threats=Linf(0.1), suite=Suite(name="one", attacks=(PGD(steps=2),)))
X, Y = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


def network(classes: int = 3, norm: bool = False) -> nn.Module:
    layers = [nn.Flatten(), nn.Linear(16, classes), *([nn.BatchNorm1d(classes, track_running_stats=False)] * norm)]
    return nn.Sequential(*layers)


class Double(nn.Module):
    """It computes in float64, whatever images it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.inner(x.flatten(1).double())
        return answer


def in_inference(call: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return call()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    **{
        f"{dtype} images": (
            lambda d=dtype: evaluate(network(), (X.to(d), Y), PROTOCOL),
            r"images are float32 or float64",
        )
        for dtype in (torch.float16, torch.bfloat16, torch.float8_e5m2)
    },
    **{
        f"{dtype} network": (
            lambda d=dtype: evaluate(network().to(d), (X, Y), PROTOCOL),
            r"weight is torch.*: model\.fl",
        )
        for dtype in (torch.float16, torch.bfloat16)
    },
    "float64 images, attacked": (lambda: PGD(steps=1)(network(), X.double(), Y, Linf(0.1)), r"x\.float\(\)"),
    "float64 images, probed": (lambda: probe(network(), X.double(), Y, Linf(0.1)), r"x\.float\(\)"),
    "float64 images, diagnosed": (lambda: diagnose(network(), X.double(), Y), r"x\.float\(\)"),
    "float64 images, predicted": (lambda: predict(network(), X.double()), r"x\.float\(\)"),
    "meta network": (lambda: evaluate(network().to("meta"), (X, Y), PROTOCOL), "1.weight is on the device meta"),
    "meta network, attacked": (lambda: FGSM()(network().to("meta"), X, Y, Linf(0.1)), "device meta"),
    "meta images": (lambda: evaluate(network(), (X.to("meta"), Y), PROTOCOL), "device meta have no values"),
    "inference mode": (lambda: in_inference(lambda: evaluate(network(), (X, Y), PROTOCOL)), r"inference_mode\(\) noth"),
    "inference mode, attacked": (lambda: in_inference(lambda: FGSM()(network(), X, Y, Linf(0.1))), "inference_mode"),
    "inference mode, probed": (lambda: in_inference(lambda: probe(network(), X, Y, Linf(0.1))), "inference_mode"),
    "built in inference mode": (lambda: evaluate(in_inference(network), (X, Y), PROTOCOL), "build the network outside"),
    "one logit": (lambda: evaluate(network(1), (X, Y * 0), PROTOCOL), "at least 2 classes, not 1"),
    "one logit, attacked": (lambda: FGSM()(network(1), X, Y * 0, Linf(0.1)), "at least 2 classes, not 1"),
    "one logit, predicted": (lambda: predict(network(1), X), "at least 2 classes, not 1"),
    "batch statistics of one": (lambda: evaluate(network(norm=True), (X[:1], Y[:1]), PROTOCOL), "one image is none"),
    "other channels": (lambda: evaluate(nn.Conv2d(3, 4, 3), (X, Y), PROTOCOL), "fails on images torch.float32"),
    "bytes": (lambda: evaluate(network(), ((X * 255).byte(), Y), PROTOCOL), "divide by 255"),
    "hardly above 1": (lambda: check_images(torch.full_like(X, 1 + 1e-6)), r"1\.0000\d+.*clamp"),
    "one-hot labels": (lambda: evaluate(network(), (X, torch.eye(3)[Y]), PROTOCOL), r"y\.argmax\(1\)"),
    "whole one-hot labels": (lambda: evaluate(network(), (X, torch.eye(3)[Y].long()), PROTOCOL), r"y\.argmax\(1\)"),
    "soft labels": (lambda: evaluate(network(), (X, torch.full((6, 3), 1 / 3)), PROTOCOL), r"y\.argmax\(1\)"),
    "labels in a column": (lambda: evaluate(network(), (X, Y[:, None]), PROTOCOL), r"y\.squeeze\(1\)"),
    "floats in a column": (lambda: evaluate(network(), (X, Y[:, None].float()), PROTOCOL), r"y\.squeeze\(1\)"),
    "one label": (lambda: evaluate(network(), (X, torch.tensor(2)), PROTOCOL), "not the single number 2"),
    "one label, diagnosed": (lambda: diagnose(network(), X, torch.tensor(2)), "not the single number 2"),
    "a number for labels": (lambda: evaluate(network(), (X, 2), PROTOCOL), "labels are a tensor, not int"),
    "no labels": (lambda: evaluate(network(), (X, None), PROTOCOL), "labels are a tensor, not NoneType"),
    "floating labels": (lambda: evaluate(network(), (X, Y.float()), PROTOCOL), r"y\.long\(\)"),
    "a loader that shuffles": (
        lambda: evaluate(network(), DataLoader(TensorDataset(X, Y), shuffle=True), PROTOCOL),
        "shuffle=False",
    ),
    "a loader of images": (lambda: evaluate(network(), DataLoader(X), PROTOCOL), r"pairs \(images, labels\)"),
    "rows of several lengths": (lambda: evaluate(network(), ([[1.0], [2.0, 3.0]], Y), PROTOCOL), "not list"),
    "images alone": (lambda: evaluate(network(), X, PROTOCOL), "a pair"),
    "a suite beside a protocol": (lambda: evaluate(network(), (X, Y), PROTOCOL, suite="quick"), "leave out suite"),
    "a truth for a protocol": (lambda: evaluate(network(), (X, Y), True), "a protocol is needed"),
    "a suite for a protocol": (lambda: evaluate(network(), (X, Y), "standard"), "eps of Linf must be"),
    "a size in grey levels": (lambda: evaluate(network(), (X, Y), 8), "write 8/255"),
    "no such suite": (lambda: Protocol(threats=Linf(0.1), suite="standart"), "did you mean 'standard'"),
    "eps that is a truth": (lambda: Linf(True), "must be a number"),
    "epochs of a half": (
        lambda: Training(epochs=100.0),
        "epochs of Training must be a whole number from 0 on, not 100.0: write 100",
    ),
    "a batch of a half": (lambda: Training(batch=64.0), "batch of Training must be a whole number"),
    "an endless step": (lambda: SGD(learning_rate=float("inf")), "learning_rate of SGD must be a number"),
}
for name, wrong in {"2.0": 2.0, "True": True, "0": 0, "text": "2", "nan": float("nan")}.items():
    REFUSED |= {
        f"batch {name}": (lambda w=wrong: evaluate(network(), (X, Y), PROTOCOL, batch=w), "batch must be a whole"),
        f"batch {name}, probed": (lambda w=wrong: probe(network(), X, Y, Linf(0.1), batch=w), "batch must be a whole"),
        f"draws {name}": (lambda w=wrong: predict(network(), X, draws=w), "draws must be a whole"),
        f"width {name}": (lambda w=wrong: FGSM().run(network(), X, Y, Linf(0.1), width=w), "width must be a whole"),
    }


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_one_or_two_lines(name: str) -> None:
    call, said = REFUSED[name]
    with pytest.raises(UserError, match=said) as refused:
        call()
    assert str(refused.value).count("\n") < 2
    assert len(str(refused.value)) < 400


PAIRS: dict[str, Any] = {
    "list": [X, Y],
    "TensorDataset": TensorDataset(X, Y),
    "DataLoader": DataLoader(TensorDataset(X, Y), batch_size=4),
    "arrays": (X.numpy(), Y.numpy()),
    "lists": (X.tolist(), Y.tolist()),
    "tensors in lists": (list(X), list(Y)),
    "int32": (X, Y.int()),
    "uint8 labels": (X, Y.byte()),
    "float64": (X.double(), Y),
    "float64 array": (X.double().numpy(), Y.numpy().astype("int16")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_harmless_is_taken(name: str) -> None:
    model = network()
    found, expected = (evaluate(model, data, PROTOCOL).arrays() for data in (PAIRS[name], (X, Y)))
    assert {key: array.tolist() for key, array in found.items()} == {key: a.tolist() for key, a in expected.items()}


def test_a_network_of_float64_gets_its_images_so() -> None:
    model = network().double()
    found = evaluate(model, (X, Y), PROTOCOL)
    assert model[1].weight.dtype == torch.float64
    assert found.clean_prediction.tolist() == model(X.double()).argmax(1).tolist()


@pytest.mark.parametrize(
    "given", [0.1, "0.1", "1/10", [0.1], ["0.1"], Linf(0.1), [Linf(0.1)], "0.05,0.1", (0.05, "0.1")]
)
def test_threats_and_their_sizes_stand_in_the_place_of_a_protocol(given: Any) -> None:
    found = evaluate(network(), (X, Y), given, suite="quick")
    assert found.threats[-1] == Linf(0.1)
    assert found.suite.name == "quick"
    assert as_protocol(given).suite.name == "standard"
    assert as_protocol(given) == Protocol(threats=found.threats)


def test_standard_and_quick_mean_those_for_recordings_under_threats_on_events() -> None:
    named = {kind: Protocol(threats=kind).suite.name for kind in (EventFlips(5), Retiming(2), FrameLinf(1))}
    assert list(named.values()) == ["events_standard", "retiming", "standard"]
    assert Protocol(threats=EventFlips(5), suite="quick").suite.name == "events"  # type: ignore[arg-type]


ATTACKS: list[tuple[Attack, Threat]] = [
    *((attack, Linf(0.1)) for attack in (FGSM(), PGD(steps=3), APGD(steps=4), FAB(steps=3), Square(queries=20))),
    *((attack, Linf(0.1)) for attack in (SAPGD(steps=3), UniformNoise(), DeepFool(steps=3))),
    (TwinTransfer(attack=PGD(steps=2)), Linf(0.1)),
    (Targeted(attack=APGD(steps=3, loss=TargetedDLR(), restarts=2), classes=1), Linf(0.1)),
    (FAB(steps=3, restarts=2), L1(1.0)),
    *((attack, L2(0.5)) for attack in (CarliniWagner(steps=2, searches=2), HopSkipJump(steps=2, draws=10))),
    (Square(queries=20, proposals=4, restarts=2), L2(0.5)),
]


@pytest.mark.parametrize(("attack", "threat"), ATTACKS, ids=str)
@pytest.mark.parametrize("width", [None, 2])
def test_logits_of_64_bits_work_in_every_attack(attack: Attack, threat: Threat, width: int | None) -> None:
    model = Double()
    found = attack.run(model, X, Y, threat, stop=width == 2, width=width)
    assert model.inner.weight.dtype == torch.float64  # a transfer once made float32 of it
    assert found.x.dtype == X.dtype
    assert bool(threat.contains(threat.project(found.x, X), X).all())


@pytest.mark.parametrize(("attack", "threat"), ATTACKS, ids=str)
def test_how_images_lie_in_memory_changes_nothing(attack: Attack, threat: Threat) -> None:
    x = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    backwards = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    spread = torch.rand(4, 3, 4, 8)
    spread[..., ::2] = x
    expected = attack(model, x, Y[:4], threat, seed=3)
    for other in (x.contiguous(memory_format=torch.channels_last), backwards, spread[..., ::2]):
        assert torch.equal(attack(model, other, Y[:4], threat, seed=3), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threat", [Linf(8 / 255), Linf(0.3), L2(0.5), L2(3.0), L1(0.7), L1(12.0)], ids=str)
def test_what_is_projected_is_inside_in_every_type_that_is_accepted(threat: Threat, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    draw = partial(torch.rand, 64, 3, 16, 16, generator=generator, dtype=dtype)
    x, far = draw().round(decimals=2), draw()
    for wanted in (far, 100 * (far - 0.5), x + 1e-3 * (far - 0.5), x + threat.eps * (far > 0.5)):
        assert bool(threat.contains(threat.project(wanted, x), x).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_types_in_which_it_is_not_are_refused(dtype: torch.dtype) -> None:
    """What rounding leaves outside the threat would be counted as an image that no attack breaks."""
    with pytest.raises(UserError, match="rounds by more than a threat allows"):
        Linf(8 / 255).check(X.to(dtype))


@dataclass(frozen=True)
class Nothing(Whole):
    """It gives back no numbers."""

    def find(self, query: Any) -> Tensor:
        return torch.full_like(query.x, torch.nan)


def test_an_attack_that_gives_back_no_images_is_an_error_and_no_survival() -> None:
    protocol = Protocol(threats=Linf(0.1), suite=Suite(name="none", attacks=(Nothing(),)))
    right = predict(model := network(), X).argmax(1)
    with pytest.raises(UserError, match="Nothing gives back for image 0 what no projection brings into Linf"):
        evaluate(model, (X, right), protocol)
    assert isinstance(Nothing().run(model, X, right, Linf(0.1)), Outcome)

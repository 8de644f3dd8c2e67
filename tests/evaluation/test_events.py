"""Is robustness on recordings measured as it is on images, and never under a threat that is about something else?"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import spikeproof as sp
from spikeproof.attacks import Attack, Threat
from spikeproof.attacks.attack import Outcome, Whole
from spikeproof.attacks.query import Query, Task
from spikeproof.data import write_events
from spikeproof.data.events.streams import checked
from spikeproof.evaluation.flags import trials
from spikeproof.evaluation.suites import QUICK
from spikeproof.registry import known
from spikeproof.runs import Run
from spikeproof.runs.weights import write_model
from tests import trained as kept
from tests.attacks.events.bars import NETWORK, SIDE, STEPS, moving_bars

Bars = tuple[Tensor, Tensor]
NOISE = sp.Suite(name="noise", attacks=(sp.UniformNoise(draws=4),))
FRAMES = [sp.FrameLinf(0.1), sp.FrameLinf(0.5)]
FLIPS = [sp.EventFlips(20), sp.EventFlips(500)]


@pytest.fixture(scope="module")
def network() -> sp.SpikingNetwork:
    return kept.trained(kept.BARS)


@pytest.fixture(scope="module")
def bars() -> Bars:
    return moving_bars(40, seed=1)


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return sp.predict(model, x).argmax(1) == y


def test_robustness_under_a_threat_on_frames(network: sp.SpikingNetwork, bars: Bars) -> None:
    found = sp.evaluate(network, bars, sp.Protocol(threats=FRAMES, suite=QUICK))
    assert found.diagnosis.status == "ok"
    assert found.clean_accuracy().value == right(network, *bars).double().mean().item()
    robust = [found.robust_accuracy(i).value for i in (0, 1)]
    assert robust[1] < robust[0] <= found.clean_accuracy().value
    for index, threat in enumerate(FRAMES):
        held = right(network, *bars)
        for attack in QUICK.attacks[1:]:
            held &= right(network, attack(network, *bars, threat), bars[1])
        assert abs(held.double().mean().item() - robust[index]) <= 0.05  # random starts differ
    survived = found.broken_at == 2
    assert (found.gradients[survived] == 2 * (1 + 10 + 2 * 20)).all()
    assert [threat["label"] for threat in found.summary()["threats"]] == ["frame Linf 0.1", "frame Linf 0.5"]


@pytest.mark.parametrize(
    "threats", [FLIPS, [sp.EventEdits(20), sp.EventEdits(500)], [sp.Retiming(1), sp.Retiming(4)]], ids=str
)
def test_robustness_against_whole_events(threats: list[Threat], network: sp.SpikingNetwork, bars: Bars) -> None:
    found = sp.evaluate(network, bars, sp.Protocol(threats=threats, suite=NOISE, seed=3))
    assert found.diagnosis.status == "ok"
    assert not found.gradients.any()
    robust = [found.robust_accuracy(i).value for i in (0, 1)]
    assert robust[1] <= robust[0] <= found.clean_accuracy().value
    if threats is FLIPS:
        assert robust[1] < robust[0]  # as many flips as there are events
    again = sp.evaluate(network, bars, sp.Protocol(threats=threats[::-1], suite=NOISE, seed=3), batch=40)
    assert np.array_equal(again.broken_at, found.broken_at)


@dataclass(frozen=True)
class Cheat(Attack):
    """Returns other recordings, far outside of any threat."""

    under: ClassVar[tuple[str, ...]] = ("frames", "events", "retiming")

    def search(self, task: Task) -> Outcome:
        spent = torch.zeros(len(task.x), dtype=torch.long)
        return Outcome(1 - task.x, spent, spent)


@pytest.mark.parametrize(
    "threat",
    [sp.FrameLinf(0.01), sp.FrameL2(0.1), sp.EventFlips(3), sp.EventEdits(2, move=0), sp.Retiming(2, by="moved")],
    ids=str,
)
def test_an_illegal_success_does_not_count(threat: Threat, network: sp.SpikingNetwork, bars: Bars) -> None:
    x, y = bars
    found = sp.evaluate(network, bars, sp.Protocol(threats=threat, suite=sp.Suite(name="cheat", attacks=(Cheat(),))))
    held = right(network, x, y) & right(network, threat.project(1 - x, x), y)
    assert found.robust_accuracy(0).value == held.double().mean().item()
    assert not right(network, 1 - x, y).all()


class NeverAsked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pytest.fail("asked before the attacks were looked at")


@pytest.mark.parametrize(
    ("threat", "suite"),
    [
        (sp.EventFlips(3), sp.Suite(name="images", attacks=(sp.FGSM(),))),
        (sp.Retiming(1), sp.Suite(name="pgd", attacks=(sp.UniformNoise(), sp.PGD()))),
        (sp.EventEdits(3), sp.Suite(name="along", attacks=(sp.UniformNoise(), sp.Along(attack=sp.PGD())))),
        (sp.EventFlips(3), sp.Suite(name="targeted", attacks=(sp.Targeted(),))),
        (sp.FrameLinf(0.5), sp.Suite(name="carlini", attacks=(sp.UniformNoise(), sp.CarliniWagner()))),
        (sp.FrameL2(0.5), sp.Suite(name="deepfool", attacks=(sp.DeepFool(),))),
    ],
    ids=str,
)
def test_a_suite_with_an_attack_that_does_not_know_the_threat_is_refused_at_once(
    threat: Threat, suite: sp.Suite, bars: Bars
) -> None:
    with pytest.raises(sp.UserError, match=r"searches under threats on (images|images and frames), ") as refused:
        sp.evaluate(NeverAsked(), bars, sp.Protocol(threats=threat, suite=suite))
    assert str(threat) in str(refused.value)


def test_threats_of_several_kinds_are_refused(network: sp.SpikingNetwork, bars: Bars) -> None:
    for threats in ([sp.FrameLinf(0.1), sp.FrameL2(0.2)], [sp.EventFlips(1), sp.Retiming(2)]):
        with pytest.raises(sp.UserError, match="differ in size only"):
            sp.evaluate(network, bars, sp.Protocol(threats=threats, suite=NOISE))


def test_data_and_threats_that_do_not_fit_are_refused(
    network: sp.SpikingNetwork, bars: Bars, trained: sp.SpikingNetwork, digits: tuple[Tensor, ...]
) -> None:
    images = digits[2][:20], digits[3][:20]
    for model, data, threat, said in (
        (network, bars, sp.Linf(0.1), r"event frames \[B, T, P, H, W\] are no images: choose .*FrameLinf"),
        (network, bars, sp.L2(0.1), "are no images"),
        (trained, images, sp.FrameLinf(0.1), r"event frames are a float tensor \[B, T, P, H, W\], not .*1, 8, 8"),
        (trained, images, sp.EventFlips(3), "event frames are a float tensor.*: for images choose a threat on images"),
        (network, (3 * bars[0], bars[1]), sp.EventFlips(3), "is about binary frames, and these hold counts"),
        (network, (bars[0] / 2, bars[1]), sp.EventEdits(3), "these hold fractions"),
        (network, (-bars[0], bars[1]), sp.FrameLinf(0.1), "recording 0 has frames from -1 to"),
        (network, images, sp.Linf(0.1), r"takes event frames \[B, 5, 2, 8, 8\]"),
        (trained, bars, sp.FrameLinf(0.1), r"takes images \[B, 1, 8, 8\]"),
    ):
        with pytest.raises(sp.UserError, match=said):
            sp.evaluate(model, data, sp.Protocol(threats=threat, suite=NOISE))


def test_flags_that_climb_are_looked_for_under_every_threat(
    network: sp.SpikingNetwork, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By attacks that know the threat. Only values in frames have a bound beyond which nothing can hold."""
    monkeypatch.setattr(trials, "STEPS", (2, 3, 4, 5))
    monkeypatch.setitem(trials.TOOLS, "frames", trials.PIXELS._replace(control=sp.Square(queries=5)))
    climbing = {"one step beats many", "noise beats gradients", "more steps do not help", "black box beats white box"}
    suite = sp.Suite(name="examined", attacks=(sp.UniformNoise(),), examined=8)
    names = {}
    for threat in (sp.FrameLinf(0.5), sp.FrameL2(2.0), sp.EventFlips(20), sp.EventEdits(20), sp.Retiming(1)):
        found = sp.evaluate(network, bars, sp.Protocol(threats=threat, suite=suite))
        names[threat.kind] = {flag.name for flag in found.flags}
        assert {"keeps a state", "zero input gradients", "a dead layer"} <= names[threat.kind]
        assert min(found.spent_on_flags) > 0
        unbounded = [flag for flag in found.flags if flag.name == "holds without a bound"]
        assert all("1e+06" in flag.meaning and flag.number == 0 for flag in unbounded)
        assert bool(unbounded) is (threat.kind == "frames")
        assert climbing <= names[threat.kind]


def test_a_network_without_input_gradient_gets_no_robust_accuracy(network: sp.SpikingNetwork, bars: Bars) -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network(x.detach())

    for threat in (sp.FrameLinf(0.1), sp.EventFlips(5)):
        found = sp.evaluate(Detached(), bars, sp.Protocol(threats=threat, suite=NOISE))
        assert found.diagnosis.status == "zero_gradient"
        assert found.robust_accuracy(0) is None


def test_any_module_from_frames_to_logits_is_evaluated(bars: Bars) -> None:
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(STEPS * 2 * SIDE * SIDE, 4))
    found = sp.evaluate(linear, (bars[0], linear(bars[0]).argmax(1)), sp.Protocol(threats=FRAMES, suite=QUICK))
    assert found.diagnosis.status == "ok"
    assert found.clean_accuracy().value == 1


def test_a_linear_model_breaks_exactly_where_its_margin_says() -> None:
    """For two classes the Linf margin is |z_0 - z_1| / ||w_0 - w_1||_1, as no cell meets its bounds."""
    torch.manual_seed(0)
    x = 5 + torch.randn(40, 2, 1, 3, 3)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(18, 2, bias=False))
    with torch.no_grad():
        logits = linear(x)
    w = linear[1].weight.detach()
    distance = (logits[:, 0] - logits[:, 1]).abs() / (w[0] - w[1]).abs().sum()
    threats = [sp.FrameLinf(eps, most=20) for eps in (0.02, 0.1, 0.3, 1.0)]
    suite = sp.Suite(name="pgd", attacks=(sp.PGD(steps=10),))
    found = sp.evaluate(linear, (x, logits.argmax(1)), sp.Protocol(threats=threats, suite=suite))
    exact = np.searchsorted([threat.eps for threat in threats], distance.numpy())
    assert 0 < (exact == 4).sum() < 40
    assert np.array_equal(found.broken_at, exact)


def test_flips_of_a_linear_model_are_counted_exactly(bars: Bars) -> None:
    """The largest gains of single flips add up: an attack with the gradient's own flips breaks from there on."""
    torch.manual_seed(0)
    x = bars[0]
    linear = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2, bias=False)).double()
    x = x.double()
    with torch.no_grad():
        logits = linear(x)
    y, w = logits.argmax(1), linear[1].weight.detach()
    way = torch.where(y == 0, 1, -1).unsqueeze(1) * (w[0] - w[1])  # what one more event adds to the margin
    gains = ((2 * x.flatten(1) - 1) * way).clamp(min=0).sort(1, descending=True).values
    margin = (logits[:, 0] - logits[:, 1]).abs().unsqueeze(1)
    needed = (gains.cumsum(1) < margin).sum(1) + 1

    @dataclass(frozen=True)
    class Steepest(Whole):
        under: ClassVar[tuple[str, ...]] = ("events",)
        eot: ClassVar[int] = 1

        def find(self, query: Query) -> Tensor:
            x = query.x
            slope, _ = query.gradient(x, sp.Margin())
            return query.threat.project(x + slope.clamp(-1, 1) + (slope.sign() - slope.clamp(-1, 1)) * 0.9, x)

    threats = [sp.EventFlips(n) for n in range(1, 40, 4)]
    found = sp.evaluate(
        linear, (x, y), sp.Protocol(threats=threats, suite=sp.Suite(name="steepest", attacks=(Steepest(),)))
    )
    exact = np.searchsorted([threat.eps for threat in threats], needed.numpy())
    assert np.array_equal(found.broken_at, exact)


# Recipes.

EVENTS = sp.EventFolder(framing=sp.Framing(steps=3))
ON_FRAMES = sp.Training(selection=sp.Selection(threat=sp.FrameLinf(0.5)))
FRAMED = sp.Network(encoder=sp.Frames())


def recipe(**choices: Any) -> sp.Recipe:
    return sp.Recipe(**({"name": "r", "data": EVENTS, "network": FRAMED, "training": ON_FRAMES} | choices))


OBJECTIVES = [kind() for kind in known(sp.Objective).values()]
ATTACKED = [o for o in OBJECTIVES if getattr(o, "threat", None) is not None and getattr(o, "attack", None) is not None]


@pytest.mark.parametrize("objective", ATTACKED, ids=lambda objective: type(objective).__name__)
def test_a_recipe_attacks_frames_as_frames_and_images_as_images(objective: Any) -> None:
    on_frames = dataclasses.replace(objective, threat=sp.FrameLinf(0.5))
    assert recipe(objective=on_frames).objective == on_frames
    assert sp.Recipe(name="r", objective=objective).objective == objective
    name = type(objective).__name__
    with pytest.raises(sp.UserError, match=rf"holds event frames, and {name} attacks them under Linf .*FrameLinf"):
        recipe(objective=objective)
    with pytest.raises(sp.UserError, match=rf"holds images, and {name} attacks them under frame Linf 0.5: .*Linf for"):
        sp.Recipe(name="r", objective=on_frames)


def test_a_recipe_selects_by_a_threat_that_fits() -> None:
    with pytest.raises(sp.UserError, match="holds event frames, and Selection attacks them under Linf 8/255"):
        recipe(training=sp.Training())
    with pytest.raises(sp.UserError, match=r"Digits holds images, and Selection attacks them under frame Linf 0.5"):
        sp.Recipe(name="r", training=ON_FRAMES)
    with pytest.raises(sp.UserError, match=r"PGD\(steps=7\) searches under threats on images and frames"):
        recipe(training=sp.Training(selection=sp.Selection(threat=sp.EventFlips(5))))
    by_noise = sp.Training(selection=sp.Selection(threat=sp.EventFlips(5), attack=sp.UniformNoise()))
    assert recipe(training=by_noise).training == by_noise


def test_a_recipe_needs_a_network_for_its_data() -> None:
    assert recipe().build().shape == (3, 2, 34, 34)
    assert recipe().build().classes == 10
    with pytest.raises(sp.UserError, match="choose the encoder Frames"):
        recipe(network=sp.Network()).build()
    with pytest.raises(sp.UserError, match="choose an encoder of images"):
        sp.Recipe(name="r", network=FRAMED).build()


# Run folders.


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("neuron", [sp.LIF(), sp.ReLU()], ids=str)
def test_a_network_on_frames_is_kept_and_built_again(merged: bool, neuron: sp.Neuron, tmp_path: Path) -> None:
    choice = sp.Network(
        architecture=sp.SmallCNN(widths=(3, 4, 5)), neuron=neuron, encoder=sp.Frames(merged=merged), channels_last=False
    )
    model = choice.build((STEPS, 2, SIDE, SIDE), 4, seed=3).eval()
    run = Run(tmp_path / "run")
    write_model(run, model.state_dict(), choice, model.shape, 4, (0.0, 0.0), (1.0, 1.0))
    again = sp.load_model(run.path)
    assert json.loads((run.path / "model.json").read_text())["shape"] == [STEPS, 2, SIDE, SIDE]
    assert again.shape == model.shape == (STEPS, 2, SIDE, SIDE)
    assert again.encoder == sp.Frames(merged=merged)
    x = moving_bars(6, seed=1)[0]
    assert torch.equal(again(x), model(x))


def write_bars(root: Path, count: int) -> None:
    """Recordings with an event in the middle of every frame of 100 us that has one."""
    x, y = moving_bars(count, seed=0)
    for number, (frames, label) in enumerate(zip(x, y.tolist(), strict=True)):
        t, p, row, column = frames.nonzero().numpy().T
        events = checked(100 * t + 50 * (t > 0), column, row, p, sp.Sensor(height=SIDE, width=SIDE), number)
        folder = root / "bars" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        write_events(folder / f"{number:03}.npz", events)


def test_a_run_on_recordings_from_files_to_verdicts(tmp_path: Path) -> None:
    write_bars(tmp_path, 160)
    data = sp.EventFolder(
        folder="bars",
        classes=("0", "1", "2", "3"),
        sensor=sp.Sensor(height=SIDE, width=SIDE),
        framing=sp.Framing(steps=STEPS, span=100, values="binary"),
        validation_images=20,
        test_images=24,
    )
    selection = sp.Selection(threat=sp.FrameLinf(0.2), attack=sp.PGD(steps=2), images=20)
    optimiser = sp.AdamW(learning_rate=0.02)
    training = sp.Training(epochs=3, batch=16, optimiser=optimiser, selection=selection)
    choice = recipe(data=data, network=NETWORK, training=training)
    model = sp.train(choice, tmp_path / "run", data_root=tmp_path)
    x, y = data.part("test", tmp_path).batch(range(24))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert right(model, x, y).double().mean() > 0.8
    assert torch.equal(sp.load_model(tmp_path / "run")(x), model.eval()(x))
    run = Run(tmp_path / "run")
    for threats, suite in (([sp.FrameLinf(0.2), sp.FrameLinf(0.4)], QUICK), (FLIPS, NOISE)):
        found = sp.evaluate_run(run, sp.Protocol(threats=threats, suite=suite), data_root=tmp_path)
        summary = found.read_json("verdicts.json")
        assert summary["status"] == "ok"
        assert summary["images"] == 24
        assert summary["resplit"] is True
        assert [threat["label"] for threat in summary["threats"]] == [str(threat) for threat in threats]
        shown = found.read_arrays("examples.npz")
        clean, adversarial = (torch.from_numpy(shown[name]) for name in ("clean", "adversarial"))
        assert clean.shape[1:] == (STEPS, 2, SIDE, SIDE)
        assert threats[-1].contains(adversarial, clean).all()

"""Does long work say how far it is, in a log as on a terminal, and is it silent where it is told to be?"""

import json
from pathlib import Path

import pytest
import torch

import spikeproof as sp
from spikeproof import progress
from spikeproof.cli import main
from spikeproof.comparison import Shares
from spikeproof.progress import Pace, lines, seldom, silent, spoken

RECIPE = sp.Recipe(
    name="small",
    data=sp.Digits(train_images=64, validation_images=32),
    network=sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2),
    training=sp.Training(epochs=2, selection=sp.Selection(images=8, attack=sp.FGSM()), schedule=sp.Constant()),
)
PROTOCOL = sp.Protocol(threats=sp.Linf(0.1), suite="habit", images=10)


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_log_gets_a_line_a_unit_and_one_every_30_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with lines("run") as report:
        for seconds, what, done in (
            (0, "begins", 0),
            (10, "half", 0.5),
            (10, "one", 1),
            (31, "long", 1.25),
            (9, "more", 1.5),
        ):
            clock.now += seconds
            report(what, done, 4)
    out, said = capsys.readouterr()
    assert out == ""
    assert said.splitlines() == [
        "run: 1/4 one (20 s, about 60 s left)",
        "run: 1.25/4 long (51 s, about 2 min left)",
    ]


def test_what_goes_on_is_not_counted_as_done_now(clock: Clock) -> None:
    pace = Pace()
    pace.note(8, 10)
    clock.now += 50
    pace.note(9, 10)
    assert (pace.elapsed, pace.left) == (50, "about 50 s left")
    assert pace.note(0, 10)  # work of another kind
    assert pace.left == ""


@pytest.mark.parametrize(("seconds", "said"), [(7.4, "7 s"), (99, "99 s"), (130, "2 min"), (7800, "2 h 10 min")])
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


def test_a_long_attack_tells_its_share(
    clock: Clock, trained: sp.SpikingNetwork, digits: tuple[torch.Tensor, ...]
) -> None:
    told: list[float] = []

    def watch(share: object) -> None:
        clock.now += 2
        look(share)

    look = seldom(told.append)
    x, y = digits[2][:8], digits[3][:8]
    sp.PGD(steps=5, restarts=2).run(trained, x, y, sp.Linf(0.01), stop=True, width=3, watch=watch)
    assert told == sorted(told)
    assert len(told) > 5
    assert 0 < told[0] < 0.5
    assert told[-1] == 1
    clock.now += 0.5
    look(lambda: pytest.fail("looked again within a second"))


def test_training_says_each_epochs_own_validation_and_where_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sp.train(RECIPE, tmp_path / "a")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("small: ")]
    rows = sp.Run(tmp_path / "a").epochs
    assert len(said) == len(rows) == 2
    for line, row in zip(said, rows, strict=True):
        own = f"validation {row.validation_accuracy:.1%}, robust {row.validation_robust_accuracy:.1%}"
        assert line.startswith(f"small: {row.epoch}/2 cross_entropy ")
        assert own in line
    longer = sp.Training(epochs=3, selection=RECIPE.training.selection, schedule=sp.Constant())
    sp.train(sp.Recipe(**vars(RECIPE) | {"training": longer}), tmp_path / "a")
    assert "small: 2/3 goes on after epoch 2; validation" in capsys.readouterr().err
    sp.train(RECIPE, tmp_path / "b", progress=silent)
    assert capsys.readouterr().err == ""


def test_an_evaluation_counts_attacks_and_flags(tmp_path: Path, trained: sp.SpikingNetwork) -> None:
    heard: list[tuple[str, float, float]] = []
    sp.evaluate(trained, sp.Digits(), PROTOCOL, progress=lambda *said: heard.append(said))
    whats, dones, totals = zip(*heard, strict=True)
    assert list(dones) == sorted(dones)
    assert len(set(totals)) == 1
    assert dones[-1] <= totals[0]
    assert whats[0] == "red flags: the network itself"
    assert "Linf 0.1: FGSM" in whats
    assert any(what.startswith("red flags: ") for what in whats[3:])


def test_a_comparison_counts_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    recipes = [RECIPE, sp.Recipe(**vars(RECIPE) | {"name": "other"})]
    heard: list[tuple[str, float, float]] = []
    sp.compare(
        recipes, PROTOCOL, tmp_path, progress=lambda *said: heard.append(said), each=lambda run: done.append(run.name)
    )
    assert done == ["small", "other"]
    assert capsys.readouterr().err == ""
    whats, dones, _ = zip(*heard, strict=True)
    assert list(dones) == sorted(dones)
    assert whats[0].startswith("network 1 of 2: train small, ")
    assert whats[-1].startswith("network 2 of 2: attack other, ")


def test_the_share_of_training_is_learned(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr("spikeproof.comparison.time", clock)
    heard: list[float] = []
    shares = Shares(2, lambda what, done, of: heard.append(done))
    for number in range(2):
        for before, seconds in ((True, 10), (False, 30)):
            with shares.of(number, "works", before=before) as report:
                report("half", 1, 2)
                clock.now += seconds
    assert heard == [0.25, 0.75, 1.125, 1.625]


def test_quiet_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["train", "--config", "demo/standard", "--training.epochs", "1", "--out", "a", "--quiet", "--json"])
    out, said = capsys.readouterr()
    assert (said, out.count("\n")) == ("", 1)
    assert json.loads(out)["epoch"] == 1
    words = ["--eps", "0.1", "--suite", "habit", "--images", "10", "--quiet", "--json"]
    for command in (["evaluate", "a", *words], ["report", "a", "--json"]):
        main(command)
        out, said = capsys.readouterr()
        assert (said, out.count("\n")) == ("", 1)
        (row,) = json.loads(out)["networks"]
        assert row["name"] == "standard"
        assert set(row["robust"]) == {"Linf 0.1"}

"""Does the page of the controls say what its file says, and does the command go on where it was stopped?"""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.controls import __main__ as command
from benchmarks.controls import costs, judging
from benchmarks.controls.page import page, room
from spikeproof import controls
from spikeproof.attacks import PGD, UniformNoise
from spikeproof.evaluation import Suite
from spikeproof.evaluation.flags import CHECKS

DOCS = Path(__file__).parents[2] / "docs"


def flag(number: float | None, threshold: float, raised: bool) -> dict[str, object]:
    return {"number": number, "threshold": threshold, "raised": raised}


def found(honest: bool, flags: dict[str, dict[str, object]], *there_for_it: str) -> dict[str, object]:
    raised = any(each["raised"] for each in flags.values())
    return {
        "honest": honest,
        "for_it": list(there_for_it),
        "right": raised != honest,
        "status": "unreliable" if raised else "ok",
        "unbroken": 0.5,
        "robust_accuracy": None if raised else 0.5,
        "flags": flags,
        "commit": "abc",
        "seconds": 1.5,
        "gradients": 1000,
        "gradients_of_flags": 2,
    }


RECORD = {
    "suite": "standard",
    "images": 60,
    "threat": "Linf 0.1",
    "costs": {},
    "controls": {
        "one": found(True, {"jumps": flag(0.1, 0.2, False)}),
        "two": found(True, {"jumps": flag(0.15, 0.2, False)}),
        "three": found(False, {"jumps": flag(None, 0.2, True)}, "jumps"),
        "four": found(False, {"jumps": flag(0.9, 0.2, True)}, "jumps"),
        "five": found(False, {"jumps": flag(0.0, 0.2, False)}, "stateful"),
    },
}


def test_the_room_lies_between_the_largest_honest_and_the_smallest_hiding_number() -> None:
    """Of those that hide, only the ones that the flag is there for; a number that is none is beyond all."""
    rows = {name: cells for name, *cells in room(RECORD["controls"])}
    assert rows["logits jump"] == ["0.15 (0.2)", "0.2", "0.9 (0.2)"]
    assert rows["keeps a state"] == ["–", "0", "–"]
    assert list(rows) == [check.name for check in CHECKS]


def test_who_is_judged_wrongly_is_named() -> None:
    text = page(RECORD)
    assert "Judged wrongly: five." in text
    assert "| **five**: wrong | hides | 50.0 % | 50.0 % | – | 2 | 1,000 | 2 |" in text
    assert "What flags cost" not in text


def test_the_page_is_made_of_the_file() -> None:
    record = json.loads((DOCS / "controls.json").read_text(encoding="utf-8"))
    assert (DOCS / "controls.md").read_text(encoding="utf-8") == page(record)
    assert list(record["controls"]) == [control.name for control in controls.CONTROLS]
    assert set(record["costs"]) == set(costs.SUITES)


def test_the_command_goes_on(
    tmp_path: Path, trained: torch.nn.Module, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is judged is not judged again, and controls keep their order whichever came first."""
    monkeypatch.setattr(controls.Trained, "by", lambda self, *args: trained)
    monkeypatch.setattr(judging, "IMAGES", 8)
    short = Suite(name="short", attacks=(UniformNoise(draws=1), PGD(steps=2)))
    monkeypatch.setattr(judging, "suite_named", lambda name: short)
    out = tmp_path / "a.json"
    where = ["--folder", str(tmp_path), "--out", str(out)]
    assert command.main(["--only", "a detached input", *where]) == 0
    first = json.loads(out.read_text())
    assert command.main(["--only", "a detached input", *where]) == 0
    assert command.main(["--only", "a detached input", "--only", "plain training", *where]) == 0
    second = json.loads(out.read_text())
    assert list(second["controls"]) == ["plain training", "a detached input"]
    assert second["controls"]["a detached input"] == first["controls"]["a detached input"]
    assert capsys.readouterr().out.count("right: a detached input") == 1
    assert out.with_suffix(".md").read_text() == page(second)
    monkeypatch.setattr(command, "asked", lambda: "another suite")
    command.main(["--only", "a detached input", *where])
    assert "right: a detached input" in capsys.readouterr().out


def test_costs_are_counted_with_flags_and_without(trained: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them nothing is asked but predictions and attacks; all copies of the network count together."""
    short = Suite(name="short", attacks=(PGD(steps=2),))
    monkeypatch.setattr(costs, "suite_named", lambda name: short)
    monkeypatch.setattr(costs, "IMAGES", 8)
    priced = costs.priced(trained, "short", rounds=2)
    assert priced["with flags"]["gradients"] > priced["without"]["gradients"] > 0
    assert priced["without"]["gradients"] <= 8 * 2 + 8  # and the diagnosis
    assert priced["with flags"]["forwards"] > priced["without"]["forwards"]
    assert priced["ratio"]["low"] <= priced["ratio"]["median"] <= priced["ratio"]["high"]

"""Does the comparison of two versions call both, and write down what they find?"""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import before_and_after

ROOT = Path(__file__).parents[2]


def test_training_is_timed_and_its_weights_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--training", "digits", "--images", "20", "--seeds", "1", "--out", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", ["before_and_after", str(ROOT), *options])
    before_and_after.main()
    found = json.loads((tmp_path / "found.json").read_text())["found"]
    assert found["before"][0]["weights"] == found["after"][0]["weights"]
    assert found["before"][0]["seconds"] > 0
    assert "the same weights" in capsys.readouterr().out


@pytest.mark.parametrize("suite", [None, "habit"])
def test_a_version_finds_the_same_as_itself(
    suite: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cheap = (
        before_and_after.ATTACKS.partition("attacks = {")[0] + 'attacks = {"FGSM": sp.FGSM()}\nwith torch.no_grad():'
    )
    rest = before_and_after.ATTACKS.partition("with torch.no_grad():")[2]
    monkeypatch.setattr(before_and_after, "ATTACKS", cheap + rest)
    options = ["--images", "8", "--out", str(tmp_path / "found.json")]
    options += ["--suite", suite, "--seeds", "1"] if suite else ["--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["before_and_after", str(ROOT), *options])
    before_and_after.main()
    record = json.loads((tmp_path / "found.json").read_text())
    before, after = record["found"]["before"], record["found"]["after"]
    if suite:
        assert [each["robust"] for each in before] == [each["robust"] for each in after]
        assert "after / before" in capsys.readouterr().out
    else:
        assert before == after
        assert len(before["FGSM"]["broken"]) == 2
        assert before["FGSM"]["gradients"] == [1.0, 1.0]

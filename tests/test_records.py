"""Are records written and read back as they were, refused where they are not, and those of 0.1.0 still understood?"""

import dataclasses
import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest

import spikeproof as sp
from spikeproof.configs import to_config
from spikeproof.runs import Run, environment
from spikeproof.runs.attack_names import attack_name, attack_names
from spikeproof.runs.intervals import Interval
from spikeproof.runs.json_forms import as_json, from_json
from spikeproof.runs.records import SCHEMA, Environment, FlagRecord, ProbesRecord, RunRecord, VerdictsRecord
from spikeproof.runs.upgrades import FLAGS

OLD = Path(__file__).parent / "runs_of_0_1_0"
RECORD = RunRecord(name="net", config={"data": None}, seed=3, finished=None, environment=Environment(command="x"))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Copies of two run folders that 0.1.0 wrote: one of digits, one of recordings."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write(RECORD)
    assert run.read(RunRecord) == RECORD
    assert run.read_json("run.json")["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": "3"}, "RunRecord.seed is '3', and not int"),
        ({"seed": True}, "RunRecord.seed is True, and not int"),
        ({"sead": 3}, "RunRecord has no field sead"),
        ({"environment": {"machine": []}}, "RunRecord.environment.machine is"),
        ({"training_seconds": float("inf")}, "no finite number"),
    ],
)
def test_what_is_not_as_declared_is_named(tmp_path: Path, change: dict, said: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": SCHEMA} | as_json(RECORD) | change))
    with pytest.raises(sp.UserError, match=said):
        Run(tmp_path).read(RunRecord)


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="RunRecord lacks name, seed"):
        from_json({"config": {}, "finished": None}, RunRecord)


def test_a_folder_of_another_schema_is_named_with_the_version_that_wrote_it(tmp_path: Path) -> None:
    written = {"schema": 9, "anything": 1, "environment": {"versions": {"spikeproof": "0.7.1"}}}
    (tmp_path / "run.json").write_text(json.dumps(written))
    with pytest.raises(
        sp.UserError, match=r"run\.json is of schema 9, written by spikeproof 0\.7\.1; .* reads schema 3"
    ):
        _ = Run(tmp_path).record


def test_a_number_that_is_none_is_kept() -> None:
    flag = FlagRecord(key="k", name="n", number=None, threshold=0.1, spoils=True, raised=True, meaning="m")
    assert from_json(json.loads(json.dumps(as_json(flag))), FlagRecord) == flag


def test_folders_of_0_1_0_are_read(old: Path) -> None:
    run = Run(old / "digits")
    assert run.record.environment.versions["spikeproof"] == "0.1.0"
    assert run.record.finished
    assert [row.epoch for row in run.epochs] == [1, 2, 3, 4]
    verdicts = run.read(VerdictsRecord)
    assert verdicts.images == 40
    assert [attack.name for attack in verdicts.suite.attacks] == [
        "uniform noise-2",
        "FGSM",
        "PGD-10",
        "PGD-20 (margin, 2 starts)",
        "SA-PGD-10 (margin, ASSG)",
        "SA-PGD-10 (margin, ATan 10)",
        "Square-100",
    ]
    assert [threat.kind for threat in verdicts.threats] == ["images", "images"]
    assert {flag.key for flag in verdicts.flags} <= set(FLAGS.values())
    assert "steps-do-not-help" in {flag.key for flag in verdicts.flags}
    assert isinstance(verdicts.clean_accuracy, Interval)
    probes = run.read(ProbesRecord)
    assert probes.gradient.l1 > 0
    assert probes.loss_rise.gap == pytest.approx(probes.loss_rise.adversarial - probes.loss_rise.random)
    assert all(len(course.random) == 4 for course in probes.potential_perturbation.values())
    (flips, _) = Run(old / "bars").read(VerdictsRecord).threats
    assert (flips.kind, flips.unit) == ("events", "cells flipped")


@pytest.mark.parametrize("suffix", [".html", ".md", ".json"])
def test_folders_of_0_1_0_are_reported(old: Path, tmp_path: Path, suffix: str) -> None:
    runs = [Run(old / "digits"), Run(old / "bars")]
    text = sp.write_report(runs, tmp_path / f"report{suffix}").read_text(encoding="utf-8")
    assert "digits" in text
    assert "bars" in text
    assert ("Suite small of 7 attacks" if suffix == ".md" else "PGD-20 (margin, 2 starts)") in text
    if suffix == ".html":
        assert "Broken by APGD 10 to APGD 500 alone" in text
        assert "Broken by SCG 10 to SCG 500 alone" in text


def test_a_folder_of_0_1_0_is_evaluated_again(old: Path) -> None:
    run = Run(old / "digits")
    suite = sp.Suite(name="small", attacks=(sp.FGSM(),))
    before = (run.path / "verdicts.json").read_bytes()
    found = sp.evaluate_run(run, sp.Protocol(threats=sp.Linf(0.1), suite=suite, images=10))
    assert found.read(VerdictsRecord).images == 10
    assert found.read_json("verdicts.json")["schema"] == SCHEMA
    assert (run.path / "verdicts.json").read_bytes() == before
    assert Run(run.path).evaluations == (run, found)
    assert Run(run.path).record.name == "digits"  # which 0.1.0 wrote


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (sp.FGSM(), "FGSM"),
        (sp.PGD(steps=10), "PGD-10"),
        (sp.PGD(steps=20, loss=sp.Margin(), restarts=2), "PGD-20 (margin, 2 starts)"),
        (sp.PGD(steps=10, momentum=0.9), "MI-FGSM-10"),
        (sp.PGD(steps=10, momentum=0.9, nesterov=True), "NI-FGSM-10"),
        (sp.APGD(), "APGD-CE"),
        (sp.APGD(loss=sp.DLR(), steps=50), "APGD-DLR-50"),
        (sp.Along(attack=sp.APGD(), paths=(sp.ASSG(),)), "APGD-CE (ASSG)"),
        (sp.Along(attack=sp.SAPGD(), paths=(sp.ASSG(),)), "SA-PGD-100 (ASSG)"),
        (sp.Along(attack=sp.APGD(), paths=(sp.ASSG(share=0.9),)), "APGD-CE (ASSG 0.9)"),
        (
            sp.Along(attack=sp.APGD(), paths=(sp.Triangle(width=0.5, detach_reset=False),)),
            "APGD-CE (Triangle 0.5 through the reset)",
        ),
        (sp.Along(attack=sp.SAPGD(loss=sp.Margin()), paths=(sp.ATan(alpha=10.0),)), "SA-PGD-100 (margin, ATan 10)"),
        (sp.Targeted(attack=sp.APGD(loss=sp.TargetedDLR())), "APGD-T"),
        (sp.TwinTransfer(), "ANN twin, APGD-CE"),
        (sp.Square(queries=1000), "Square-1000"),
        (sp.SCG(), "SCG-20"),
        (sp.FAB(), "FAB"),
        (sp.CarliniWagner(), "C&W-200"),
    ],
    ids=str,
)
def test_attacks_are_named_as_in_the_field(attack: sp.Attack, name: str) -> None:
    assert attack_name(to_config(attack)) == name


def test_attacks_of_one_suite_have_different_names() -> None:
    for suite in sp.SUITES.values():
        names = attack_names([to_config(member) for member in suite.members])
        assert len(set(names)) == len(names)


def test_versions_are_known_where_a_package_is_importable_and_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    versions = environment().versions
    assert versions["spikeproof"] == sp.__version__
    assert versions["scikit-learn"] == "unknown"  # not importable by that name


def test_every_threat_says_what_its_eps_counts() -> None:
    assert sp.Linf().unit == ""
    assert sp.EventFlips(3, only="insert").unit == "events inserted"
    assert {sp.Retiming(1, by=by).unit for by in ("jitter", "delay", "moved")} == {
        "frames that any one event moves",
        "frames that all events move, added up",
        "events moved",
    }
    assert dataclasses.replace(sp.FrameLinf(), eps=0.5).unit == "events a cell, Linf norm"

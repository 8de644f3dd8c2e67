import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import spikeproof as sp
from spikeproof.calling import width_for
from spikeproof.evaluation import evaluate_run
from spikeproof.evaluation.ledger import Ledger
from spikeproof.reports import ranking
from spikeproof.runs import Run

SUITE = sp.Suite(name="small", attacks=(sp.FGSM(), sp.PGD(steps=3)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    recipe = sp.Recipe(
        name="mlp",
        network=sp.Network(architecture=sp.MLP(hidden=(48,)), steps=2),
        training=sp.Training(epochs=2, optimiser=sp.AdamW(learning_rate=5e-3), selection=sp.Selection(images=8)),
    )
    sp.train(recipe, folder)
    return Run(folder)


def test_verdicts_arrays_and_examples_are_written(run):
    found = evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50))
    summary, arrays, shown = (
        found.read_json("verdicts.json"),
        found.read_arrays("verdicts.npz"),
        found.read_arrays("examples.npz"),
    )
    assert summary["images"] == 50 == len(arrays["label"])
    assert summary["width"] == width_for(torch.device("cpu"))
    robust = (arrays["broken_at"] > 0).mean()
    assert summary["threats"][0]["robust_accuracy"]["value"] == pytest.approx(robust)
    assert (np.abs(shown["adversarial"] - shown["clean"]) <= 0.1 + 1e-6).all()
    assert (shown["clean_prediction"] == shown["label"]).all()
    spikes = [name for name in shown if name.startswith("spikes/")]
    assert len(spikes) == 2  # one spiking layer, before and after
    assert all(shown[name].shape == (2, 48) for name in spikes)


def test_the_same_evaluation_is_not_done_twice_and_another_is(run, monkeypatch):
    evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50))
    calls = []
    monkeypatch.setattr("spikeproof.evaluation.evaluated_runs.evaluate_pool", lambda *a, **k: calls.append(1) or 1 / 0)
    evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50))
    assert not calls
    with pytest.raises(ZeroDivisionError):
        evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.2)], suite=SUITE, images=50))


def test_what_was_left_after_the_last_result_is_swept_when_it_is_asked_for_again(run):
    protocol = sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50)
    folder = evaluate_run(run, protocol)
    before = sorted(run.path.rglob("*"))
    (folder.path / "verdicts.partial.npz").write_bytes(b"")
    (run.path / ".lock").write_text("{}")
    evaluate_run(run, protocol)
    assert sorted(run.path.rglob("*")) == before


def test_more_images_than_there_are_are_refused(run):
    with pytest.raises(sp.UserError, match="take 1 to 360, not 361"):
        evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=361))


def test_a_stop_before_the_summary_leaves_no_verdict_of_two_evaluations(run, monkeypatch):
    evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50))
    monkeypatch.setattr("spikeproof.evaluation.evaluated_runs.examples", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.2)], suite=SUITE, images=50))
    assert {folder.read_json("verdicts.json")["threats"][0]["eps"] for folder in run.evaluations} == {0.1}
    monkeypatch.undo()
    found = evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.2)], suite=SUITE, images=50))
    assert found.read_json("verdicts.json")["threats"][0]["eps"] == 0.2
    assert len(run.evaluations) == 2


def test_a_lost_picture_comes_back_and_an_unfinished_run_is_refused(run):
    found = evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50))
    (found.path / "examples.npz").unlink()
    assert evaluate_run(run, sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50)) == found
    assert "examples.npz" in found
    whole = run.record
    run.write(replace(whole, finished=None))
    with pytest.raises(sp.UserError, match="has not finished"):
        evaluate_run(Run(run.path), sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50))
    run.write(whole)


def test_a_converted_run_is_evaluated_as_any_other(tmp_path):
    """Its spikes weigh their threshold, and there was no fine-tuning; its ANN has a run folder of its own inside."""
    small = sp.Training(epochs=3, optimiser=sp.AdamW(learning_rate=5e-3), selection=sp.Selection(images=8))
    ann = sp.Recipe(
        name="ANN",
        network=sp.Network(architecture=sp.MLP(hidden=(24,)), neuron=sp.QCFS(bound=2.0), steps=1),
        training=small,
    )
    recipe = sp.Recipe(
        name="converted",
        network=sp.Network(architecture=sp.MLP(hidden=(24,)), neuron=sp.GradedIF(charge=0.5), steps=4),
        training=sp.Training(epochs=0, selection=sp.Selection(images=8)),
        ann=ann,
        conversion=sp.LearnedBounds(),
    )
    sp.train(recipe, tmp_path / "converted")
    run, ann_run = Run(tmp_path / "converted"), Run(tmp_path / "converted" / "ann")
    found, of_ann = (
        evaluate_run(each, sp.Protocol(threats=[sp.Linf(0.05)], suite=SUITE, images=60)) for each in (run, ann_run)
    )
    converted, before = (each.read_arrays("verdicts.npz") for each in (found, of_ann))
    assert np.array_equal(converted["clean_prediction"], before["clean_prediction"])  # one hidden layer, T = L
    assert found.read_json("verdicts.json")["threats"][0]["robust_accuracy"] is not None
    shown = found.read_arrays("examples.npz")
    spikes = [shown[name] for name in shown if name.startswith("spikes/")]
    assert len(spikes) == 2
    assert all(each.shape == (4, 24) for each in spikes)
    assert not [name for name in of_ann.read_arrays("examples.npz") if name.startswith("spikes/")]


def test_an_evaluation_without_one_image_that_is_right_is_not_done_twice(run, monkeypatch):
    data = sp.Digits()
    first = data.part("test").first(1)
    seen = sp.predict(sp.load_model(run.path), first.batch([0])[0]).argmax(1)
    wrong = replace(first, labels=(seen + 1) % 10)
    monkeypatch.setattr(sp.Digits, "part", lambda *where: wrong)
    protocol = sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=1)
    found = evaluate_run(run, protocol)
    assert found.read_json("verdicts.json")["clean_accuracy"]["value"] == 0
    assert "examples.npz" not in found
    monkeypatch.setattr("spikeproof.evaluation.evaluated_runs.evaluate_pool", lambda *a, **k: 1 / 0)
    evaluate_run(run, protocol)


def test_no_evaluation_overwrites_another_and_what_was_written_before_is_used_again(run, tmp_path, monkeypatch):
    protocol = sp.Protocol(threats=[sp.Linf(0.1)], suite=SUITE, images=50)
    copy = Run(shutil.copytree(run.path, tmp_path / "before"))
    kept = evaluate_run(copy, protocol)
    for file in ("verdicts.json", "verdicts.npz", "examples.npz"):
        (kept.path / file).rename(copy.path / file)  # where they stood when a run had one evaluation
    shutil.rmtree(copy.path / "verdicts")
    before = (copy.path / "verdicts.json").read_bytes()
    monkeypatch.setattr("spikeproof.evaluation.evaluated_runs.evaluate_pool", lambda *a, **k: pytest.fail("again"))
    assert evaluate_run(copy, protocol) == copy
    monkeypatch.undo()
    other = evaluate_run(copy, replace(protocol, images=40))
    assert copy.evaluations == (copy, other)
    assert other.path.name.startswith(replace(protocol, images=40).name)
    assert (copy.path / "verdicts.json").read_bytes() == before


def test_a_report_shows_every_evaluation_and_chooses_by_name(run, tmp_path):
    copy = Run(shutil.copytree(run.path, tmp_path / "mlp"))
    shutil.rmtree(copy.path / "verdicts", ignore_errors=True)
    habit, small = (
        sp.Protocol(threats=sp.Linf(0.1), suite="habit", images=30),
        sp.Protocol(threats=sp.L2(1), suite="quick", images=20),
    )
    for protocol in (habit, small):
        evaluate_run(copy, protocol)
    rows = ranking([copy])
    assert [(row.name, row.protocol) for row in rows] == [("mlp [habit]", "A"), ("mlp [quick]", "B")]
    (row,) = ranking([copy], "quick-L2")
    assert (row.name, list(row.robust)) == ("mlp", ["L2 1"])
    (row,) = ranking([copy], habit.name)
    assert list(row.robust) == ["Linf 0.1"]
    for file in ("page.html", "table.md", "rows.json"):
        assert "L2 1" in sp.write_report([copy], tmp_path / file).read_text()
        assert "L2 1" not in sp.write_report([copy], tmp_path / file, verdicts="habit").read_text()
    with pytest.raises(sp.UserError, match=f"begins with 'standard'; there are {habit.name}, {small.name}"):
        ranking([copy], "standard")


def test_a_stopped_evaluation_goes_on_though_another_was_made_meanwhile(run, tmp_path, monkeypatch):
    copy = Run(shutil.copytree(run.path, tmp_path / "mlp"))
    shutil.rmtree(copy.path / "verdicts", ignore_errors=True)
    note, notes = Ledger.note, []

    def stopping(self, *args):
        note(self, *args)
        notes.append((self.kept.folder.path.name, self.stage))
        if len(notes) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "note", stopping)
    first, second = (sp.Protocol(threats=sp.Linf(eps), suite=SUITE, images=30) for eps in (0.1, 0.2))
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(copy, first)
    evaluate_run(copy, second)
    assert len(copy.evaluations) == 1
    evaluate_run(copy, first)
    assert len(copy.evaluations) == 2
    assert len(set(notes)) == len(notes) == 4  # no stage of any evaluation twice

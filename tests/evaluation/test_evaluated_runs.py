import numpy as np
import pytest

import spikeproof as sp
from spikeproof.evaluation import evaluate_run
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
    evaluate_run(run, [sp.Linf(0.1)], SUITE, images=50)
    summary, arrays, shown = (
        run.read_json("verdicts.json"),
        run.read_arrays("verdicts.npz"),
        run.read_arrays("examples.npz"),
    )
    assert summary["images"] == 50 == len(arrays["label"])
    robust = (arrays["broken_at"] > 0).mean()
    assert summary["threats"][0]["robust_accuracy"]["value"] == pytest.approx(robust)
    assert (np.abs(shown["adversarial"] - shown["clean"]) <= 0.1 + 1e-6).all()
    assert (shown["clean_prediction"] == shown["label"]).all()
    spikes = [name for name in shown if name.startswith("spikes/")]
    assert len(spikes) == 2  # one spiking layer, before and after
    assert all(shown[name].shape == (2, 48) for name in spikes)


def test_the_same_evaluation_is_not_done_twice_and_another_is(run, monkeypatch):
    evaluate_run(run, [sp.Linf(0.1)], SUITE, images=50)
    calls = []
    monkeypatch.setattr("spikeproof.evaluation.evaluated_runs.evaluate", lambda *a, **k: calls.append(1) or 1 / 0)
    evaluate_run(run, [sp.Linf(0.1)], SUITE, images=50)
    assert not calls
    with pytest.raises(ZeroDivisionError):
        evaluate_run(run, [sp.Linf(0.2)], SUITE, images=50)


def test_more_images_than_there_are_is_refused(run):
    with pytest.raises(sp.UserError, match="360 images, not 1000"):
        evaluate_run(run, [sp.Linf(0.1)], SUITE, images=1000)

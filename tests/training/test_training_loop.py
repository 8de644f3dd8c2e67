import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch

import spikeproof as sp
from spikeproof.objectives import Objective
from spikeproof.reports.reading.evidence import read_evidence
from spikeproof.runs import Run
from spikeproof.training import train
from spikeproof.training.checkpoints import State
from spikeproof.training.validation import Scores


def recipe(**changes) -> sp.Recipe:
    training = sp.Training(
        epochs=3,
        batch=32,
        optimiser=sp.SGD(learning_rate=0.05),
        warm_up=1,
        average=0.9,
        gradient_clip=1.0,
        selection=sp.Selection(threat=sp.Linf(0.1), attack=sp.PGD(steps=2), images=32),
    )
    base = sp.Recipe(
        name="small",
        data=sp.Digits(train_images=128, validation_images=64, augmentation=(sp.RandomCrop(padding=1),)),
        network=sp.Network(architecture=sp.SmallCNN(widths=(4, 4, 8)), neuron=sp.PLIF(), steps=3),
        objective=sp.Adversarial(threat=sp.Linf(0.1), attack=sp.PGD(steps=2, keep="last")),
        training=training,
    )
    return replace(base, **changes)


def weights(folder):
    return sp.load_model(folder).state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_what_it_should(tmp_path):
    model = train(recipe(), tmp_path / "a")
    run = Run(tmp_path / "a")
    rows = run.read_lines("metrics.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert sum(row["best"] for row in rows) == 1
    best = next(row for row in rows if row["best"])
    key = [(row["validation_robust_accuracy"], row["validation_accuracy"]) for row in rows]
    assert key[best["epoch"] - 1] == max(key)
    assert run.record.finished
    assert run.record.parameters == sum(p.numel() for p in model.parameters())
    assert run.record.environment.versions["torch"] == torch.__version__
    assert not model.training
    assert not [f for f in os.listdir(tmp_path / "a") if f.startswith(".")]


def test_training_learns(tmp_path):
    simple = sp.Recipe(
        name="learns",
        network=sp.Network(architecture=sp.MLP(hidden=(64,)), steps=3),
        training=sp.Training(
            epochs=6, batch=64, optimiser=sp.AdamW(learning_rate=3e-3), selection=sp.Selection(images=8)
        ),
    )
    model = train(simple, tmp_path / "a")
    x, y = sp.Digits().part("test").batch(range(360))
    assert (sp.predict(model, x).argmax(1) == y).float().mean() > 0.85


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(tmp_path):
    train(recipe(), tmp_path / "a")
    torch.manual_seed(123)  # whatever ran before
    train(recipe(), tmp_path / "b")
    train(recipe(seed=1), tmp_path / "c")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("optimiser", [sp.SGD(learning_rate=0.05), sp.AdamW()], ids=["sgd", "adamw"])
def test_stopped_after_any_epoch_it_ends_the_same(tmp_path, monkeypatch, optimiser):
    chosen = recipe(training=replace(recipe().training, optimiser=optimiser))
    train(chosen, tmp_path / "whole")
    saved = State.save

    def stop_after(self, *args):
        saved(self, *args)
        raise KeyboardInterrupt

    for _ in range(3):
        monkeypatch.setattr(State, "save", stop_after)
        with pytest.raises(KeyboardInterrupt):
            train(chosen, tmp_path / "stopped")
    monkeypatch.setattr(State, "save", saved)
    train(chosen, tmp_path / "stopped")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    drop = ("seconds",)
    logs = [
        [{k: v for k, v in row.items() if k not in drop} for row in Run(tmp_path / f).read_lines("metrics.jsonl")]
        for f in ("whole", "stopped")
    ]
    assert logs[0] == logs[1]


PROGRAM = """
import sys, torch
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
from test_training_loop import recipe
from spikeproof.training import train
train(recipe(), sys.argv[1])
"""


def test_killed_with_kill_9_it_ends_with_the_same_weights_bit_for_bit(tmp_path):
    program = PROGRAM.format(tests=os.path.dirname(__file__))
    command = [sys.executable, "-c", program]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    child = subprocess.Popen([*command, str(tmp_path / "killed")])
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not Run(tmp_path / "killed").record.finished
    subprocess.run([*command, str(tmp_path / "killed")], check=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_a_stochastic_network_is_repeatable_and_resumable(tmp_path, monkeypatch):
    chosen = recipe(network=sp.Network(architecture=sp.MLP(hidden=(16,)), encoder=sp.Poisson(), steps=3))
    train(chosen, tmp_path / "whole")
    torch.manual_seed(99)
    train(chosen, tmp_path / "again")
    saved = State.save

    def stop_after(self, *args):
        saved(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", stop_after)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, tmp_path / "stopped")
    monkeypatch.setattr(State, "save", saved)
    state = torch.get_rng_state()
    train(chosen, tmp_path / "stopped")
    assert torch.equal(torch.get_rng_state(), state)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "again"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_a_kill_between_checkpoint_and_metrics_loses_nothing(tmp_path):
    train(recipe(), tmp_path / "a")
    run = Run(tmp_path / "a")
    rows = run.read_lines("metrics.jsonl")
    run.write_lines("metrics.jsonl", rows[:2])
    run.write(dataclasses.replace(run.record, finished=None))
    train(recipe(), tmp_path / "a")
    assert run.read_lines("metrics.jsonl") == rows


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    train(recipe(), tmp_path / "a")
    (tmp_path / "a" / "run.json").unlink()
    with pytest.raises(sp.UserError, match=r"checkpoint\.safetensors is of another recipe"):
        train(recipe(seed=7), tmp_path / "a")


def test_a_finished_run_that_lost_a_file_is_trained_again(tmp_path):
    train(recipe(), tmp_path / "a")
    before = weights(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").unlink()
    train(recipe(), tmp_path / "a")
    assert same(before, weights(tmp_path / "a"))


def test_a_flipped_bit_is_noticed(tmp_path):
    train(recipe(), tmp_path / "a")
    path = tmp_path / "a" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(sp.UserError, match=r"model\.safetensors is damaged"):
        sp.load_model(tmp_path / "a")


@dataclass(frozen=True, kw_only=True)
class Steep(sp.Slope):
    """A slope of the user's own."""

    def derivative(self, u):
        return 1 / (1 + u.abs()) ** 2


def test_a_users_own_slope_trains_and_needs_trust_to_be_loaded(tmp_path):
    network = sp.Network(architecture=sp.MLP(hidden=(8,)), neuron=sp.LIF(gradient=Steep()), steps=2)
    model = train(recipe(network=network), tmp_path / "a")
    assert not model.training
    with pytest.raises(sp.UserError, match="--trust"):
        sp.load_model(tmp_path / "a")


@dataclass(frozen=True, kw_only=True)
class BadGradient(Objective):
    """A finite loss whose gradient is NaN."""

    def __call__(self, model, x, y):
        z = model(x)
        return {"root": torch.nn.functional.cross_entropy(z, y) + (z.sum() * 0).abs().sqrt()}


def test_a_nan_gradient_stops_before_the_weights_are_spoilt(tmp_path):
    with pytest.raises(sp.UserError, match="'gradient' is nan in batch 1 of epoch 1"):
        train(recipe(objective=BadGradient()), tmp_path / "a")
    assert not (tmp_path / "a" / "checkpoint.safetensors").exists()


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    train(recipe(), tmp_path / "a")
    monkeypatch.setattr("spikeproof.training.loop._epoch", lambda *a: pytest.fail("trained again"))
    train(recipe(), tmp_path / "a")


def test_a_folder_of_another_recipe_is_refused(tmp_path):
    train(recipe(training=replace(recipe().training, epochs=2)), tmp_path / "a")
    with pytest.raises(sp.UserError, match="another recipe"):
        train(recipe(), tmp_path / "a")


@dataclass(frozen=True, kw_only=True)
class Exploding(Objective):
    """Standard training whose second term is NaN from the given call on."""

    calls: list = None
    after: int = 6

    def __call__(self, model, x, y):
        self.calls.append(1)
        bad = float("nan") if len(self.calls) > self.after else 0.0
        return {"cross_entropy": torch.nn.functional.cross_entropy(model(x), y), "penalty": model(x).sum() * 0 + bad}


def test_a_nan_loss_stops_with_batch_term_and_advice_and_keeps_the_checkpoint(tmp_path):
    stop = recipe(objective=Exploding(calls=[]))  # 128 images in batches of 32: the third batch of epoch 2
    with pytest.raises(sp.UserError, match=r"'penalty' is nan in batch 3 of epoch 2.*learning rate"):
        train(stop, tmp_path / "a")
    tensors, facts = Run(tmp_path / "a").read_tensors("checkpoint.safetensors")
    assert len(facts["metrics"]) == 1
    assert all(t.isfinite().all() for t in tensors.values())


@pytest.mark.parametrize("file", ["checkpoint.safetensors", "run.json", "model.safetensors", "model.json"])
def test_a_damaged_file_is_named(tmp_path, monkeypatch, file):
    train(recipe(), tmp_path / "a")
    run = Run(tmp_path / "a")
    run.write(dataclasses.replace(run.record, finished=None))
    path = tmp_path / "a" / file
    path.write_bytes(path.read_bytes()[:-20])
    read = sp.load_model if file.startswith("model") else partial(train, recipe())
    with pytest.raises(sp.UserError, match=file):
        read(tmp_path / "a")


def test_a_model_file_that_wants_foreign_code_is_refused(tmp_path):
    train(recipe(), tmp_path / "a")
    path = tmp_path / "a" / "model.json"
    how = json.loads(path.read_text())
    how["network"]["init_args"]["neuron"] = {"class_path": "os.system", "init_args": {"command": "touch owned"}}
    del how["schema"], how["sha256"]
    path.write_text(json.dumps(how))
    run = Run(tmp_path / "a")
    run.write_tensors("model.safetensors", run.read_tensors("model.safetensors")[0], {})  # it states no model.json
    with pytest.raises(sp.UserError, match=r"os\.system.*outside spikeproof.*--trust"):
        sp.load_model(tmp_path / "a")


def test_schedules():
    cosine = sp.Training(epochs=10, optimiser=sp.SGD(learning_rate=0.2), warm_up=2)
    assert cosine.learning_rate(1) == pytest.approx(
        0.1 * (1 + torch.pi * 0 + torch.cos(torch.tensor(torch.pi / 10))) / 2
    )
    assert cosine.learning_rate(5) == pytest.approx(0.1)
    assert cosine.learning_rate(10) == pytest.approx(0, abs=1e-9)
    step = sp.Training(epochs=8, optimiser=sp.SGD(learning_rate=1.0), schedule=sp.Step(milestones=(0.5, 0.75)))
    assert [round(step.learning_rate(e), 4) for e in (0, 3.9, 4, 6)] == [1, 1, 0.1, 0.01]


def test_the_average_follows_the_weights(tmp_path):
    plain = recipe(training=replace(recipe().training, average=0.0))
    train(recipe(), tmp_path / "averaged")
    train(plain, tmp_path / "plain")
    assert not same(weights(tmp_path / "averaged"), weights(tmp_path / "plain"))
    averaged, _ = Run(tmp_path / "averaged").read_tensors("checkpoint.safetensors")
    last, _ = Run(tmp_path / "plain").read_tensors("checkpoint.safetensors")
    models = [k for k in last if k.startswith("model.")]
    assert all(torch.equal(averaged[k], last[k]) for k in models)  # averaging watches and does not interfere


def on_events(objective: Objective) -> sp.Recipe:
    """A recipe for recordings, selected under a threat on them."""
    training = sp.Training(selection=sp.Selection(threat=sp.FrameLinf(0.5)))
    network = sp.Network(encoder=sp.Frames())
    return sp.Recipe(name="a", data=sp.NMNIST(), network=network, objective=objective, training=training)


def test_a_threat_that_fits_is_found_at_any_depth() -> None:
    objective = sp.RAT(objective=sp.TRADES(threat=sp.FrameLinf(0.5)))
    assert on_events(objective).objective == objective


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sp.Training(epochs=-1), "epochs of Training must be a whole number from 0 on, not -1"),
        (lambda: sp.Recipe(name="a", training=sp.Training(epochs=0)), "epochs must be at least 1 without a conversion"),
        (lambda: sp.Training(batch=1), "batch of Training must be a whole number from 2 on, not 1"),
        (lambda: sp.Training(average=1.0), r"average of Training must be a number in \[0, 1\), not 1.0"),
        (lambda: sp.Training(warm_up=50), "warm_up"),
        (lambda: sp.Training(gradient_clip=-1.0), "gradient_clip"),
        (lambda: sp.SGD(learning_rate=0.0), "learning_rate"),
        (lambda: sp.Step(milestones=(3.0,)), r"milestones\[0\] of Step must be a number in \(0, 1\), not 3.0"),
        (lambda: sp.Recipe(name="a/b"), "folder"),
        (
            lambda: on_events(sp.RAT(objective=sp.TRADES())),
            "NMNIST holds event frames, and TRADES attacks them under Linf",
        ),
        (
            lambda: sp.Recipe(name="a", objective=sp.RAT(objective=sp.Adversarial(threat=sp.FrameLinf(0.5)))),
            "Digits holds images, and Adversarial attacks them under frame Linf 0.5",
        ),
        (lambda: sp.Recipe(name="a", data=sp.Digits(train_images=1)), "at least 2 training images"),
        (lambda: sp.Selection(images=0), "images of Selection must be a whole number from 1 on, not 0"),
    ],
)
def test_bad_settings_are_refused(make, says):
    with pytest.raises(sp.UserError, match=says):
        make()


def for_epochs(epochs, schedule=sp.Constant(), **changes):
    return recipe(training=replace(recipe().training, epochs=epochs, schedule=schedule, **changes))


def test_trained_for_longer_it_goes_on_and_ends_as_if_it_had_been_asked_for_at_once(tmp_path):
    train(for_epochs(4), tmp_path / "at once")
    train(for_epochs(2), tmp_path / "longer")
    verdicts = sp.evaluate_run(Run(tmp_path / "longer"), sp.Protocol(threats=sp.Linf(0.1), suite="habit", images=10))
    said = []
    train(for_epochs(4), tmp_path / "longer", progress=lambda what, done, of: said.append((what, done, of)))
    assert said[0][0].startswith("goes on after epoch 2; validation ")
    assert said[0][1:] == (2, 4)
    assert same(weights(tmp_path / "at once"), weights(tmp_path / "longer"))
    run = Run(tmp_path / "longer")
    assert [row.epoch for row in run.epochs] == [1, 2, 3, 4]
    assert run.record.finished
    assert run.evaluations == (verdicts,)  # of the weights that it had
    with pytest.raises(sp.UserError, match="was trained for 4 epochs already, not 3"):
        train(for_epochs(3), tmp_path / "longer")


def test_longer_training_that_finds_no_better_epoch_keeps_weights_and_verdicts(tmp_path, monkeypatch):
    train(for_epochs(1, warm_up=0), tmp_path / "a")
    run = Run(tmp_path / "a")
    kept = sp.evaluate_run(run, sp.Protocol(threats=sp.Linf(0.1), suite="habit", images=10))
    before = (run.path / "model.safetensors").read_bytes()
    monkeypatch.setattr("spikeproof.training.loop.validate", lambda *a, **k: Scores(-0.5, 0))
    train(for_epochs(2, warm_up=0), tmp_path / "a")
    assert (run.path / "model.safetensors").read_bytes() == before
    (found,) = read_evidence(Run(run.path))
    assert found.evaluation == kept


@pytest.mark.parametrize("schedule", [sp.Cosine(), sp.Step()], ids=["cosine", "step"])
def test_a_schedule_that_would_have_been_another_does_not_go_on(tmp_path, schedule):
    train(for_epochs(2, schedule), tmp_path / "a")
    before = weights(tmp_path / "a")
    with pytest.raises(sp.UserError, match=r"was begun for 2 epochs, and \w+ had other learning rates on the way to 4"):
        train(for_epochs(4, schedule), tmp_path / "a")
    assert same(before, weights(tmp_path / "a"))
    assert Run(tmp_path / "a").record.finished


def test_a_training_that_failed_before_its_first_epoch_does_not_block_the_corrected_one(tmp_path):
    steep = replace(recipe().training, optimiser=sp.SGD(learning_rate=1e30), gradient_clip=None)
    with pytest.raises(sp.UserError, match=r"in batch . of epoch 1"):
        train(recipe(training=steep), tmp_path / "a")
    train(recipe(), tmp_path / "a")
    train(recipe(), tmp_path / "b")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    with pytest.raises(sp.UserError, match=r"training\.optimiser\.learning_rate, training\.gradient_clip differ; name"):
        train(recipe(training=steep), tmp_path / "a")
    with pytest.raises(sp.UserError, match="another recipe: seed differs; name"):
        train(recipe(seed=3), tmp_path / "a")


@pytest.mark.parametrize(
    ("network", "path", "said"),
    [
        (sp.Network(architecture=sp.MLP(), neuron=sp.ReLU(), steps=1), sp.ASSG(), "no spiking neurons"),
        (sp.Network(architecture=sp.MLP(), neuron=sp.AdaptiveLIF(), steps=3), sp.RGA(), "AdaptiveLIF cannot follow"),
    ],
    ids=["an ANN", "neurons of another kind"],
)
@pytest.mark.parametrize("place", ["objective", "selection"])
def test_an_inner_attack_that_the_network_cannot_follow_is_refused(tmp_path, network, path, said, place):
    along = sp.Along(attack=sp.PGD(steps=2), paths=(path,))
    if place == "objective":
        odd = recipe(network=network, objective=sp.Adversarial(threat=sp.Linf(0.1), attack=along))
    else:
        selection = sp.Selection(threat=sp.Linf(0.1), attack=along)
        odd = recipe(network=network, training=replace(recipe().training, selection=selection))
    with pytest.raises(sp.UserError, match=said):
        train(odd, tmp_path / "a")
    assert not (tmp_path / "a").exists()

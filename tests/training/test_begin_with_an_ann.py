"""Does a run that begins with an ANN train it, convert it or learn from it, and end the same however it was stopped?"""

import dataclasses
import json
import shutil
from dataclasses import replace

import pytest
import torch

import spikeproof as sp
from spikeproof.configs import from_config, to_config
from spikeproof.randomness import seed_from
from spikeproof.runs import Run, sha256_of
from spikeproof.training import train
from spikeproof.training.checkpoints import State

DATA = sp.Digits(train_images=192, validation_images=48, augmentation=(sp.RandomCrop(padding=1),))
SMALL = sp.SmallCNN(widths=(4, 4, 8))


def training(epochs, **changes):
    selection = sp.Selection(threat=sp.Linf(0.02), attack=sp.PGD(steps=2), images=48)
    return sp.Training(epochs=epochs, batch=32, optimiser=sp.SGD(learning_rate=0.05), selection=selection, **changes)


ANN = sp.Recipe(
    name="ANN",
    data=DATA,
    network=sp.Network(architecture=SMALL, neuron=sp.ReLU(), steps=1),
    training=replace(training(5), optimiser=sp.AdamW(learning_rate=0.01)),
)
CONVERTED = sp.Recipe(
    name="converted",
    data=DATA,
    network=sp.Network(architecture=SMALL, neuron=sp.IF(learn_threshold=True), steps=3),
    training=training(2, average=0.9),
    ann=ANN,
    conversion=sp.Calibration(steps=5, batches=4, batch=32),
)
TAUGHT = sp.Recipe(
    name="taught",
    data=DATA,
    network=sp.Network(architecture=SMALL, encoder=sp.RSC(), steps=2),
    objective=sp.Distillation(layers="all"),
    training=training(2),
    ann=ANN,
)
UNTOUCHED = replace(
    CONVERTED,
    network=sp.Network(architecture=SMALL, neuron=sp.GradedIF(), steps=3),
    training=training(0),
    conversion=sp.ThresholdBalancing(),
)
KINDS = {"converted": CONVERTED, "taught": TAUGHT, "not fine-tuned": UNTOUCHED}
every_kind = pytest.mark.parametrize("recipe", KINDS.values(), ids=KINDS)


def weights(folder):
    return sp.load_model(folder).state_dict()


def checkpoint(folder):
    return Run(folder).read_tensors("checkpoint.safetensors")[0]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def rows(folder):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in Run(folder).read_lines("metrics.jsonl")]


def converted_by_hand(folder, recipe):
    """What `convert` makes of the ANN in the run's folder."""
    return sp.convert(
        sp.load_model(folder / "ann"),
        recipe.network,
        DATA.part("train"),
        recipe.conversion,
        augmentation=DATA.augmentation,
        seed=seed_from(recipe.seed),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every kind of run, trained without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    for name, recipe in KINDS.items():
        train(recipe, folder / name)
    return folder


def test_the_ann_has_a_run_of_its_own_inside(whole, tmp_path):
    train(ANN, tmp_path / "alone")
    inside = Run(whole / "converted" / "ann")
    assert inside.record.finished
    assert inside.record.name == "ANN"
    assert same(weights(inside.path), weights(tmp_path / "alone"))
    assert rows(inside.path) == rows(tmp_path / "alone")
    assert same(weights(whole / "taught" / "ann"), weights(tmp_path / "alone"))


def test_a_converted_network_has_an_epoch_0(whole):
    found = Run(whole / "converted").read_lines("metrics.jsonl")
    assert [row["epoch"] for row in found] == [0, 1, 2]
    assert (found[0]["learning_rate"], found[0]["losses"]) == (None, {})
    assert all(0 <= row["validation_robust_accuracy"] <= row["validation_accuracy"] <= 1 for row in found)
    assert sum(row["best"] for row in found) == 1
    assert found[0]["validation_accuracy"] > 0.2  # it knows more than chance, untrained
    assert set(found[1]["losses"]) == {"cross_entropy"}
    assert [row["epoch"] for row in Run(whole / "taught").read_lines("metrics.jsonl")] == [1, 2]


def test_a_taught_network_learns_by_its_teachers_terms(whole):
    for row in Run(whole / "taught").read_lines("metrics.jsonl"):
        assert set(row["losses"]) == {"cross_entropy", "teacher_logits", "teacher_features"}
        assert all(value > 0 for value in row["losses"].values())
    assert "teacher" not in json.dumps(Run(whole / "taught").record.config)
    assert not any("teacher" in name for name in checkpoint(whole / "taught"))


def test_without_fine_tuning_it_is_the_conversion_and_nothing_else(whole):
    folder = whole / "not fine-tuned"
    assert [row["epoch"] for row in rows(folder)] == [0]
    assert rows(folder)[0]["best"]
    assert same(weights(folder), converted_by_hand(folder, UNTOUCHED).state_dict())
    assert Run(folder).record.finished


def test_fine_tuning_begins_with_the_converted_network(whole, tmp_path):
    """A learning rate that moves nothing leaves it: weights, thresholds and, in the average, all of it."""
    still = replace(training(1), optimiser=sp.SGD(learning_rate=1e-30, weight_decay=0.0))
    model = train(replace(CONVERTED, training=still), tmp_path / "a")
    expected = converted_by_hand(tmp_path / "a", CONVERTED)
    assert dict(model.named_parameters()).keys() == dict(expected.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, expected.get_parameter(name)), name
    averaged = State.fresh(CONVERTED, torch.device("cpu"))
    averaged.ann = sha256_of(whole / "converted" / "ann" / "model.safetensors")
    averaged.resume(Run(whole / "converted"), CONVERTED)
    assert same(averaged.validated.state_dict(), averaged.average.state_dict())
    assert not same(averaged.model.state_dict(), averaged.average.state_dict())


def test_epoch_0_is_kept_where_fine_tuning_does_harm(tmp_path):
    harmful = replace(training(2), optimiser=sp.SGD(learning_rate=20.0, momentum=0.0))
    recipe = replace(CONVERTED, training=harmful)
    model = train(recipe, tmp_path / "a")
    found = rows(tmp_path / "a")
    assert [row["best"] for row in found] == [True, False, False]
    assert same(model.state_dict(), converted_by_hand(tmp_path / "a", recipe).state_dict())
    assert not same(_below(checkpoint(tmp_path / "a"), "model."), model.state_dict())


def _below(tensors, prefix):
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def test_the_best_of_all_epochs_is_kept(whole):
    found = rows(whole / "converted")
    score = [(row["validation_robust_accuracy"], row["validation_accuracy"], row["epoch"]) for row in found]
    assert next(row["epoch"] for row in found if row["best"]) == max(score)[2]


class Stopped(Exception):
    pass


def stopping(where):
    """A progress report that stops the run the first time that `where` says so."""

    def report(text, done, total):
        if where(text, done):
            raise Stopped

    return report


PLACES = {
    "in the ANN's first batch": lambda text, done: text.startswith("ANN:"),
    "in the ANN's second epoch": lambda text, done: text.startswith("ANN:") and done > 1.5,
    "while converting": lambda text, done: text == "converting",
    "just after the conversion": lambda text, done: not text.startswith(("ANN:", "converting")),
    "in fine-tuning": lambda text, done: not text.startswith(("ANN:", "converting")) and done > 1.5,
}


@pytest.mark.parametrize(
    ("name", "place"),
    [("converted", place) for place in PLACES] + [("taught", place) for place in PLACES if "conver" not in place],
)
def test_stopped_anywhere_it_ends_the_same(whole, tmp_path, name, place):
    recipe = KINDS[name]
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "a", progress=stopping(PLACES[place]))
    assert not Run(tmp_path / "a").record.finished
    torch.manual_seed(99)
    train(recipe, tmp_path / "a")
    assert same(weights(tmp_path / "a"), weights(whole / name))
    assert same(weights(tmp_path / "a" / "ann"), weights(whole / name / "ann"))
    assert same(checkpoint(tmp_path / "a"), checkpoint(whole / name))
    assert rows(tmp_path / "a") == rows(whole / name)


@every_kind
@pytest.mark.parametrize("saved", [True, False], ids=["after a checkpoint", "before a checkpoint"])
def test_stopped_at_every_checkpoint_it_ends_the_same(whole, tmp_path, monkeypatch, recipe, saved):
    """Before: the network of the epoch may be written already, and the checkpoint is not."""
    name, save, stops = next(n for n, r in KINDS.items() if r is recipe), State.save, []

    def stop(self, run, *args):
        place = (run.path, self.epoch)
        if saved:
            save(self, run, *args)
        if place not in stops:
            stops.append(place)
            raise Stopped
        if not saved:
            save(self, run, *args)

    monkeypatch.setattr(State, "save", stop)
    for _ in range(12):
        try:
            train(recipe, tmp_path / "a")
            break
        except Stopped:
            continue
    epochs = {"converted": 3, "taught": 2, "not fine-tuned": 1}[name]
    assert len(stops) == 5 + epochs
    assert same(weights(tmp_path / "a"), weights(whole / name))
    assert rows(tmp_path / "a") == rows(whole / name)


def test_a_finished_run_does_nothing_more(whole, monkeypatch):
    monkeypatch.setattr("spikeproof.training.loop._epoch", lambda *a: pytest.fail("trained again"))
    monkeypatch.setattr("spikeproof.training.beginnings.convert", lambda *a, **k: pytest.fail("converted again"))
    for name, recipe in KINDS.items():
        assert same(train(recipe, whole / name).state_dict(), weights(whole / name))


@every_kind
def test_the_time_of_the_ann_counts(whole, recipe):
    name = next(n for n, r in KINDS.items() if r is recipe)
    own = sum(row["seconds"] for row in Run(whole / name).read_lines("metrics.jsonl"))
    before = sum(row["seconds"] for row in Run(whole / name / "ann").read_lines("metrics.jsonl"))
    assert before > 0
    assert Run(whole / name / "ann").record.training_seconds == pytest.approx(before)
    assert Run(whole / name).record.training_seconds == pytest.approx(own + before)


def test_progress_says_what_is_done(tmp_path):
    said = []
    train(CONVERTED, tmp_path / "a", progress=lambda text, done, total: said.append((text, done, total)))
    texts = [text for text, *_ in said]
    middle = texts.index("converting")
    assert middle == 5 * (6 + 1)  # epochs; batches of each, and its validation
    assert all(text.startswith("ANN: cross_entropy") for text in texts[:middle])
    assert not any(text.startswith("ANN") for text in texts[middle:])
    assert all("validation" in text for text in texts[middle + 1 :])  # epoch 0 was validated before
    assert all(0 <= done <= total for _, done, total in said)


def test_another_seed_is_another_ann_too(tmp_path, whole):
    moved = UNTOUCHED.seeded(5)
    assert (moved.seed, moved.ann.seed) == (5, 5)
    assert moved == replace(UNTOUCHED, seed=5, ann=replace(ANN, seed=5))
    assert replace(UNTOUCHED, ann=replace(ANN, seed=7)).seeded(2).ann.seed == 9  # as far from it as it was
    assert ANN.seeded(3) == replace(ANN, seed=3)
    nested = replace(TAUGHT, ann=replace(ANN, objective=sp.Distillation(), ann=replace(ANN, seed=4)))
    assert nested.seeded(2).ann.ann.seed == 6
    assert UNTOUCHED.seeded(0) == UNTOUCHED
    train(moved, tmp_path / "a")
    assert not same(weights(tmp_path / "a" / "ann"), weights(whole / "not fine-tuned" / "ann"))


@every_kind
def test_a_recipe_is_written_down_with_its_ann(recipe):
    again = from_config(json.loads(json.dumps(to_config(recipe))), sp.Recipe)
    assert again == recipe
    assert again.ann == ANN


def test_a_recipe_of_another_ann_is_another_recipe(whole):
    with pytest.raises(sp.UserError, match="another recipe"):
        train(replace(UNTOUCHED, ann=replace(ANN, seed=1)), whole / "not fine-tuned")


def test_an_ann_of_another_architecture_is_refused_by_the_conversion(tmp_path):
    other = replace(ANN, network=replace(ANN.network, architecture=sp.MLP(hidden=(4,))))
    with pytest.raises(sp.UserError, match="keeps the architecture"):
        train(replace(UNTOUCHED, ann=other), tmp_path / "a")


def test_distillation_without_an_ann_is_refused(tmp_path):
    with pytest.raises(sp.UserError, match="give the recipe one under ann"):
        train(replace(TAUGHT, ann=None), tmp_path / "a")
    with pytest.raises(sp.UserError, match="give the recipe one under ann"):
        train(replace(TAUGHT, ann=None, objective=sp.RAT(objective=sp.Distillation())), tmp_path / "b")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: replace(CONVERTED, ann=None), "a conversion needs an ANN: give the recipe one under ann"),
        (lambda: replace(TAUGHT, ann=replace(ANN, network=sp.Network())), "the network under ann spikes"),
        (lambda: replace(TAUGHT, ann=replace(ANN, data=sp.CIFAR10())), r"the ANN sees images \(3, 32, 32\) of 10"),
        (lambda: replace(TAUGHT, data=sp.CIFAR100(), ann=replace(ANN, data=sp.CIFAR10())), "the same kind of data"),
        (lambda: replace(TAUGHT, training=training(0)), "epochs must be at least 1 without a conversion"),
        (lambda: training(-1), "epochs of Training must be a whole number from 0 on, not -1"),
        (lambda: training(0, warm_up=1.0), "warm_up"),
    ],
)
def test_impossible_recipes_are_refused(make, says):
    with pytest.raises(sp.UserError, match=says):
        make()


def test_another_teacher_in_the_old_ones_place_is_noticed(whole, tmp_path):
    """The rest of a run would silently learn from it."""
    shutil.copytree(whole / "converted", tmp_path / "a")
    run = Run(tmp_path / "a")
    run.write(dataclasses.replace(run.record, finished=None))
    ann = Run(tmp_path / "a" / "ann")
    tensors, facts = ann.read_tensors("model.safetensors")
    ann.write_tensors("model.safetensors", {name: 2 * t for name, t in tensors.items()}, facts)
    with pytest.raises(sp.UserError, match="no longer the ANN"):
        train(CONVERTED, tmp_path / "a")


def test_an_ann_that_nothing_uses_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(sp.UserError, match="nothing here uses the ANN"):
        train(replace(CONVERTED, conversion=None, objective=sp.RAT()), tmp_path / "a")
    with pytest.raises(sp.UserError, match="give the recipe one under ann"):
        train(replace(CONVERTED, conversion=None, ann=None, objective=sp.Distillation()), tmp_path / "a")
    assert not (tmp_path / "a").exists()

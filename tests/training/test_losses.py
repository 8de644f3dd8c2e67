"""Are losses that are read late the same, and is what is not finite found, named, and kept out of checkpoints?"""

from dataclasses import dataclass, field, replace

import pytest
import torch

import spikeproof as sp
from spikeproof.objectives import Objective
from spikeproof.runs import Run
from spikeproof.training import loop, losses, returns
from spikeproof.training.checkpoints import Reached, State
from spikeproof.training.losses import Losses
from tests.training.test_training_loop import recipe, same, weights


@dataclass(frozen=True, kw_only=True)
class Spoilt(Objective):
    """Standard training with a penalty that is what `penalty` says at each call, 0 after the last."""

    penalty: tuple[str, ...] = ()
    error: bool = False
    calls: list = field(default_factory=list, compare=False)

    def __call__(self, model, x, y):
        number = len(self.calls)
        self.calls.append(1)
        if self.error and number == len(self.penalty):
            raise RuntimeError("the step after it")
        extra = float(self.penalty[number]) if number < len(self.penalty) else 0.0
        z = model(x)
        return {"cross_entropy": torch.nn.functional.cross_entropy(z, y), "penalty": z.sum() * 0 + extra}


def seldom(monkeypatch, steps: int) -> None:
    monkeypatch.setattr(losses, "EVERY", {"cpu": steps})


def test_losses_read_seldom_are_those_read_at_every_step(tmp_path, monkeypatch):
    sp.train(recipe(), tmp_path / "often")
    seldom(monkeypatch, 3)  # an epoch has four steps
    sp.train(recipe(), tmp_path / "seldom")
    assert same(weights(tmp_path / "often"), weights(tmp_path / "seldom"))
    often, rare = (Run(tmp_path / name).epochs for name in ("often", "seldom"))
    assert [row.losses for row in often] == [row.losses for row in rare]
    assert all(0 < row.losses["adversarial"] < 10 for row in rare)


def test_means_are_over_the_epoch_and_what_is_shown_over_what_was_read():
    means = Losses(0, 4, Reached())
    for value in (1.0, 3.0):
        means.add({"a": torch.tensor(value)}, torch.tensor(1.0))
    assert means.sums == {}
    means.read()
    assert means.so_far() == "a 2.000"
    for value in (5.0, 7.0):
        means.add({"a": torch.tensor(value)}, torch.tensor(1.0))
    assert means.due(torch.device("cuda"))  # the end of the epoch
    means.read()
    assert means.sums == {"a": 4.0}


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_a_loss_that_is_not_finite_is_named_with_its_step_however_late_it_is_read(tmp_path, monkeypatch, steps):
    seldom(monkeypatch, steps)
    spoilt = recipe(objective=Spoilt(penalty=("0",) * 5 + ("inf",)))
    with pytest.raises(sp.UserError, match=r"'penalty' is inf in batch 2 of epoch 2.*last checkpoint is still there"):
        sp.train(spoilt, tmp_path / "a")
    tensors, facts = Run(tmp_path / "a").read_tensors("checkpoint.safetensors")
    assert len(facts["metrics"]) == 1
    assert all(t.isfinite().all() for t in tensors.values())


def test_an_error_after_a_loss_that_is_not_finite_tells_of_the_loss(tmp_path, monkeypatch):
    seldom(monkeypatch, 50)
    with pytest.raises(sp.UserError, match="'penalty' is nan in batch 2 of epoch 1"):
        sp.train(recipe(objective=Spoilt(penalty=("0", "nan"), error=True)), tmp_path / "a")
    with pytest.raises(RuntimeError, match="the step after it"):
        sp.train(recipe(objective=Spoilt(penalty=("0", "1"), error=True)), tmp_path / "b")


@pytest.mark.parametrize("steps", [1, 3])
def test_stopped_inside_an_epoch_it_ends_the_same(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN", 0.0)
    seldom(monkeypatch, steps)
    chosen = recipe(training=replace(recipe().training, optimiser=sp.AdamW()))
    sp.train(chosen, tmp_path / "whole")
    save, places = State.save, []

    def stop_once_a_place(self, *args):
        save(self, *args)
        place = (self.epoch, self.reached.steps)
        if place not in places:
            places.append(place)
            raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", stop_once_a_place)
    while not (tmp_path / "stopped" / "run.json").is_file() or not Run(tmp_path / "stopped").record.finished:
        try:
            sp.train(chosen, tmp_path / "stopped")
        except KeyboardInterrupt:
            continue
    inside = [(epoch, reached) for epoch in range(3) for reached in ((1, 2, 3) if steps == 1 else (3,))]
    assert sorted(places) == sorted([*inside, (1, 0), (2, 0), (3, 0)])
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    logs = [[replace(row, seconds=0.0) for row in Run(tmp_path / name).epochs] for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_seconds_of_a_stopped_epoch_are_added_up(tmp_path, monkeypatch):
    two = recipe(training=replace(recipe().training, epochs=2))
    monkeypatch.setattr(loop, "SECONDS_BETWEEN", 0.0)
    save = State.save

    def stop(self, *args):
        self.reached = replace(self.reached, seconds=1000.0)  # as if the machine were slow
        save(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        sp.train(two, tmp_path / "a")
    monkeypatch.setattr(State, "save", save)
    sp.train(two, tmp_path / "a")
    assert 1000 < Run(tmp_path / "a").epochs[0].seconds < 1100


def test_a_checkpoint_from_before_there_were_places_inside_an_epoch_is_read(tmp_path):
    sp.train(recipe(), tmp_path / "a")
    run = Run(tmp_path / "a")
    before = weights(tmp_path / "a")
    tensors, facts = run.read_tensors(returns.CHECKPOINT)
    run.write_tensors(returns.CHECKPOINT, tensors, {k: v for k, v in facts.items() if k != "reached"})
    run.write(replace(run.record, finished=None))
    sp.train(recipe(), tmp_path / "a")
    assert same(before, weights(tmp_path / "a"))

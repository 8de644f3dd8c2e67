"""Does training on images in files end with the same weights, however they are decoded and wherever it is stopped?"""

from dataclasses import replace
from pathlib import Path

import pytest

import spikeproof as sp
from spikeproof.data.decoding import Decoder
from spikeproof.runs import Run
from spikeproof.training import loop, train
from spikeproof.training.checkpoints import State
from tests.data.pictures import paint
from tests.training.test_training_loop import same, weights


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("pictures"), train=24, test=2)


def recipe() -> sp.Recipe:
    return sp.Recipe(
        name="pictures",
        data=sp.ImageFolder(classes=("cat", "dog"), size=16, resize=20, validation_images=8),
        network=sp.Network(architecture=sp.SmallCNN(widths=(4, 4, 4)), steps=2),
        training=sp.Training(
            epochs=2,
            batch=10,
            optimiser=sp.SGD(learning_rate=0.05),
            selection=sp.Selection(attack=sp.PGD(steps=1), images=8),
        ),
    )


def test_neither_workers_nor_a_stop_inside_an_epoch_change_the_weights(root, tmp_path, monkeypatch):
    train(recipe(), tmp_path / "alone", data_root=root, workers=0)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN", 0.0)
    save, saved = State.save, []

    def stop_once(self, *args):
        save(self, *args)
        saved.append((self.epoch, self.reached.steps))
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", stop_once)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "stopped", data_root=root, workers=2)
    assert saved[-1] == (0, 2)
    train(recipe(), tmp_path / "stopped", data_root=root, workers=1)
    assert same(weights(tmp_path / "alone"), weights(tmp_path / "stopped"))
    alone, stopped = ([row.losses for row in Run(tmp_path / name).epochs] for name in ("alone", "stopped"))
    assert alone == stopped


def test_processes_end_with_the_training(root, tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(Decoder, "close", lambda self: closed.append(self))
    train(recipe(), tmp_path / "a", data_root=root, workers=0)
    monkeypatch.setattr(loop, "_epoch", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(recipe(), tmp_path / "b", data_root=root, workers=0)
    assert len(closed) == 2


def test_a_broken_picture_stops_training_by_its_name_and_keeps_the_checkpoint(tmp_path):
    root = paint(tmp_path, train=12, test=1)
    chosen = replace(recipe(), data=replace(recipe().data, validation_images=2))
    broken = root / "pictures" / "train" / "cat" / "5.JPEG"
    whole, spoilt = broken.read_bytes(), [False]

    def spoil(what: str, done: float, of: float) -> None:
        if done >= 1 and not spoilt[0]:
            broken.write_bytes(whole[:200])
            spoilt[0] = True

    with pytest.raises(sp.UserError, match=r"^cannot decode the image cat/5\.JPEG in "):
        train(chosen, tmp_path / "a", data_root=root, workers=0, progress=spoil)
    assert len(Run(tmp_path / "a").epochs) == 1
    broken.write_bytes(whole)
    train(chosen, tmp_path / "a", data_root=root, workers=0)
    train(chosen, tmp_path / "b", data_root=root, workers=0)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_less_than_no_workers_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(sp.UserError, match="workers is a number of processes from 0"):
        train(recipe(), tmp_path / "a", workers=-1)
    assert not (tmp_path / "a").exists()

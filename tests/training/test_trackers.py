"""Does a tracker hear of every epoch, once, and change no number?"""

import re
import struct
from pathlib import Path

import pytest
import torch

import spikeproof as sp
from spikeproof.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()


def recipe(epochs: int = 2) -> sp.Recipe:
    return sp.Recipe(
        name="tracked",
        data=sp.Digits(train_images=96, validation_images=40),
        network=sp.Network(architecture=sp.MLP(hidden=(12,)), encoder=sp.Poisson(), steps=2),
        training=sp.Training(epochs=epochs, batch=32, selection=sp.Selection(images=8, attack=sp.FGSM())),
    )


def test_each_epoch_is_told_once_and_weights_are_those_without(tmp_path: Path) -> None:
    heard: list[sp.Tracked] = []
    plain = sp.train(recipe(), tmp_path / "plain")
    model = sp.train(recipe(), tmp_path / "told", tracker=heard.append)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    rows = sp.Run(tmp_path / "told").epochs
    assert [one.epoch.epoch for one in heard] == [1, 2]
    assert [one.epoch.losses for one in heard] == [row.losses for row in rows]
    assert [one.name for one in heard] == ["tracked", "tracked"]
    sp.train(recipe(), tmp_path / "told", tracker=heard.append)
    assert len(heard) == 2


def test_scalars_have_losses_accuracies_and_the_rate_of_each_layer(tmp_path: Path) -> None:
    heard: list[sp.Tracked] = []
    model = sp.train(recipe(1), tmp_path / "run", tracker=heard.append)
    told = heard[0].scalars()
    with sp.record(model) as inside, torch.no_grad():
        model(sp.Digits(train_images=96, validation_images=40).part("validation").batch(range(40))[0])
    assert {name for name in told if name.startswith("rate/")} == {f"rate/{layer}" for layer in inside.rates()}
    for layer, rate in inside.rates().items():  # another draw of Poisson, of the same images
        assert told[f"rate/{layer}"] == pytest.approx(rate, abs=0.1)
    row = sp.Run(tmp_path / "run").epochs[0]
    assert told["accuracy/robust"] == row.validation_robust_accuracy
    assert told["loss/cross_entropy"] == row.losses["cross_entropy"]


def events_in(folder: Path) -> list[bytes]:
    """The content of each event file: records of a length, its checksum, the record, and its checksum."""
    found = []
    for file in sorted(folder.glob("events.out.tfevents.*"), key=lambda file: file.suffix):
        content, records, start = file.read_bytes(), [], 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            records.append(content[start + 12 : start + 12 + length])
            start += 16 + length
        found.append(b"".join(records))
    return found


def test_the_command_line_writes_what_tensorboard_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    tiny = ["--data.train_images", "96", "--training.epochs", "2", "--training.selection.images", "8"]
    main(["train", "--config", "demo/standard", "--tensorboard", "board", "--out", "run", "--quiet", *tiny])
    rows, told = sp.Run("run").epochs, events_in(tmp_path / "board" / "standard")
    assert len(rows) == len(told) == 2
    for row, written in zip(rows, told, strict=True):
        assert struct.pack("<f", row.losses["cross_entropy"]) in written
        for name in (b"loss/cross_entropy", b"accuracy/clean", b"accuracy/robust", b"learning_rate", b"rate/body."):
            assert name in written


def test_without_the_extra_it_is_named_before_anything_is_written(tmp_path: Path, monkeypatch, fails) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    said = fails("train", "--config", "demo/standard", "--tensorboard", str(tmp_path), "--out", str(tmp_path / "run"))
    assert "pip install 'spikeproof[tensorboard]'" in said
    assert list(tmp_path.iterdir()) == []


def test_the_tracker_of_the_page_hands_on_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged = []

    class Wandb:
        run = None

        @classmethod
        def init(cls, project: str, name: str) -> None:
            cls.run = (project, name)

        @staticmethod
        def log(numbers: dict[str, float], step: int) -> None:
            logged.append((step, numbers))

    monkeypatch.setitem(__import__("sys").modules, "wandb", Wandb)
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], names)
    sp.train(recipe(1), tmp_path / "run", tracker=names["log"])
    assert Wandb.run == ("spikeproof", "tracked")
    assert logged[0][0] == 1
    assert logged[0][1]["loss/cross_entropy"] > 0

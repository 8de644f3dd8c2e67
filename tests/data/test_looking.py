"""Is a data set made of what lies in a folder or a file, with the classes, sizes and statistics that are there?"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.configs import from_config, to_config
from spikeproof.data.events.npz import write_npz
from spikeproof.data.events.streams import Events, Sensor
from spikeproof.runs import Run
from tests.data.pictures import paint

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
Y = np.arange(40) % 4


def grey(root: Path, names: tuple[str, ...] = ("a", "b"), count: int = 10, side: int = 8) -> Path:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = RANDOM.integers(0, 256, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def record(root: Path, sensor: Sensor | None = Sensor(height=6, width=8)) -> Path:
    for label, name in enumerate(("left", "right")):
        (root / name).mkdir(parents=True)
        for number in range(10):
            n = 60
            t = np.sort(RANDOM.integers(0, 10_000, n))
            x, y, p = RANDOM.integers(0, 4, n) + 4 * label, RANDOM.integers(0, 6, n), RANDOM.integers(0, 2, n)
            path = root / name / f"{number}.npz"
            if sensor is None:
                np.savez(path, t=t, x=x, y=y, p=p)
            else:
                write_npz(path, Events(t=t, x=x, y=y, p=p, sensor=sensor))
    return root


def parts(data: sp.DataSet, root: Path) -> dict[str, int]:
    names: tuple[Any, ...] = ("train", "validation", "test")
    return {name: len(data.part(name, root)) for name in names}


def test_pictures_with_train_and_test(tmp_path: Path) -> None:
    data, root = sp.data_in(paint(tmp_path, train=20, test=4) / "pictures")
    assert isinstance(data, sp.ImageFolder)
    assert (data.classes, data.folder, root) == (("cat", "dog"), "pictures", tmp_path.resolve())
    assert data.shape == (3, data.size, data.size)
    assert 28 <= data.size <= 60
    assert parts(data, root) == {"train": 36, "validation": 4, "test": 8}
    x, _ = data.part("train", root).batch(range(36))
    assert torch.allclose(torch.tensor(data.mean), x.mean((0, 2, 3)), atol=1e-3)
    assert from_config(to_config(data), sp.DataSet) == data


def test_val_beside_test_is_for_validation(tmp_path: Path) -> None:
    for side in ("train", "val", "test"):
        grey(tmp_path / "mine" / side, count=6 if side == "train" else 2)
    data, root = sp.data_in(tmp_path / "mine")
    assert data.shape == (1, 8, 8)
    assert parts(data, root) == {"train": 12, "validation": 4, "test": 4}


def test_one_folder_is_split_by_seed(tmp_path: Path) -> None:
    data, root = sp.data_in(grey(tmp_path / "mine", count=20))
    assert isinstance(data, sp.ImageFolder)
    assert parts(data, root) == {"train": 29, "validation": 3, "test": 8}
    assert data.seeded(1).split_seed == 1
    assert not torch.equal(*(each.part("test", root).batch(range(8))[0] for each in (data, data.seeded(1))))
    assert sp.data_in(tmp_path / "mine", size=6)[0].shape == (1, 6, 6)


@pytest.mark.parametrize(
    ("arrays", "shape", "count"),
    [
        ({"images": X, "labels": Y}, (3, 12, 12), 40),
        ({"x": X.transpose(0, 3, 1, 2), "y": Y.astype(np.uint8)}, (3, 12, 12), 40),
        ({"x": X[..., 0].astype(np.int64), "y": Y}, (1, 12, 12), 40),
        ({"data": (X / 255).astype(np.float64), "targets": Y.astype(float)}, (3, 12, 12), 40),
        ({"x_train": X, "y_train": Y, "x_test": X[:8], "y_test": Y[:8]}, (3, 12, 12), 48),
        (
            {"train_images": X, "train_labels": Y[:, None], "val_images": X[:8], "val_labels": Y[:8, None]},
            (3, 12, 12),
            48,
        ),
    ],
)
def test_arrays(arrays: dict[str, np.ndarray], shape: tuple[int, ...], count: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    data, root = sp.data_in(tmp_path / "mine.npz")
    assert isinstance(data, sp.Arrays)
    assert (data.shape, data.classes) == (shape, ("0", "1", "2", "3"))
    assert sum(parts(data, root).values()) == count
    x, y = data.part("test", root).batch(range(8))
    assert x.shape == (8, *shape)
    assert 0 <= float(x.min()) < 0.1 < 0.9 < float(x.max()) <= 1
    assert len(set(y.tolist())) == 4
    assert from_config(to_config(data), sp.DataSet) == data


def test_recordings(tmp_path: Path) -> None:
    data, root = sp.data_in(record(tmp_path / "mine"))
    assert isinstance(data, sp.EventFolder)
    assert (data.classes, data.sensor) == (("left", "right"), Sensor(height=6, width=8))
    assert parts(data, root) == {"train": 14, "validation": 2, "test": 4}


def test_a_sensor_is_asked_for_where_files_do_not_say_it(tmp_path: Path) -> None:
    folder = record(tmp_path / "mine", sensor=None)
    with pytest.raises(sp.UserError, match=r"give its size.*\n.*--sensor 34x34"):
        sp.data_in(folder)
    assert sp.data_in(folder, sensor=Sensor(height=6, width=8))[0].shape == (10, 2, 6, 8)


def one(path: Path, **arrays: Any) -> Path:
    np.savez(path / "one.npz", **arrays)
    return path / "one.npz"


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (lambda at: at / "nowhere", "there is no folder or file"),
    "an empty folder": (lambda at: at, "no pictures .* it holds nothing"),
    "another file": (lambda at: Path(__file__), "is a file: name the folder"),
    "pictures without classes": (lambda at: grey(at, ("only",)), "holds 1 folders: put the pictures of each class"),
    "other names": (lambda at: one(at, a=X, b=Y), "holds the arrays a, b: name them images and labels"),
    "no labels": (lambda at: one(at, x=X), "name them images and labels"),
    "other channels": (lambda at: one(at, x=X[..., :2], y=Y), "with 1 or 3 channels, not"),
    "either layout": (lambda at: one(at, x=X[:, :3], y=Y), "say layout NCHW or NHWC"),
    "normalised": (lambda at: one(at, x=X / 255 - 0.5, y=Y), "leave normalisation to the network"),
    "float bytes": (lambda at: one(at, x=X.astype(float), y=Y), "keep them as bytes"),
    "texts": (lambda at: one(at, x=X, y=Y.astype(str)), "labels are whole numbers"),
    "one-hot": (lambda at: one(at, x=X, y=np.eye(4)[Y]), r"argmax\(1\)"),
    "short": (lambda at: one(at, x=X, y=Y[:3]), "there is one an image"),
    "negative": (lambda at: one(at, x=X, y=Y - 1), "-1 is among them"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said(name: str, tmp_path: Path) -> None:
    make, says = WRONG[name]
    with pytest.raises(sp.UserError, match=says) as refused:
        sp.data_in(make(tmp_path))
    assert str(refused.value).count("\n") < 2


def test_from_a_folder_to_a_report_in_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    folder = grey(tmp_path / "mine", count=12)
    monkeypatch.setattr("spikeproof.cli.files.usual_recipes", lambda data: sp.usual_recipes(data, epochs=1))
    main(["compare", str(folder), "--suite=quick", "--out", str(tmp_path / "out"), "--eps=0.1"])
    assert "</html>" in (tmp_path / "out" / "report.html").read_text()
    assert Run(tmp_path / "out" / "adversarial").record.config["data"]["class_path"] == "ImageFolder"
    assert "stands alone" in fails("compare", str(folder), "configs/digits/trades.yaml")
    assert "--sensor is height x width" in fails("compare", str(folder), "--sensor", "big")
    assert "is a run folder" in fails("compare", str(tmp_path / "out" / "standard"))
    assert "are of data in a folder" in fails("compare", "configs/digits/trades.yaml", "--size", "3")


def test_recordings_get_an_encoder_a_threat_and_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeproof.cli.files.usual_recipes", lambda data: sp.usual_recipes(data, epochs=1))
    main(["compare", str(record(tmp_path / "mine")), "--suite=quick", "--images=2", "--out", str(tmp_path / "out")])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "events suite" in page
    assert "flips" in page


def test_what_the_page_shows_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(sp.__file__).parents[1] / "docs" / "data.md").read_text()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "mydata"}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "data.md", "exec"), names)
    assert parts(names["data"], names["root"]) == {"train": 144, "validation": 16, "test": 40}
    assert parts(names["Stripes"](), tmp_path) == {"train": 180, "validation": 20, "test": 100}

"""Are test files found that are training files too, under another name, and is nothing said of others?"""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikeproof.data import EventFolder, ImageFolder, Sensor


def recordings(root: Path, twice: int) -> EventFolder:
    """Twelve recordings, of which `twice` are there under a second name."""
    random = np.random.default_rng(0)
    for number in range(12):
        place = root / "Recordings" / ("left" if number % 2 else "right")
        place.mkdir(parents=True, exist_ok=True)
        t, x, y, p = np.arange(50), *(random.integers(0, end, 50) for end in (6, 4, 2))
        np.savez(place / f"{number:02}.npz", t=t, x=x, y=y, p=p)
        if number < twice:
            shutil.copyfile(place / f"{number:02}.npz", place / f"copy of {number:02}.npz")
    return EventFolder(
        folder="Recordings",
        classes=("left", "right"),
        sensor=Sensor(height=4, width=6),
        validation_images=2,
        test_images=5,
    )


def test_recordings_in_both_parts_are_said(tmp_path: Path) -> None:
    data = recordings(tmp_path, 12)
    with pytest.warns(UserWarning, match=r"\d of 5 test files are in the training part too: .*\.npz is .*\.npz"):
        data.part("test", tmp_path)


def test_recordings_of_one_size_and_other_content_are_none(tmp_path: Path) -> None:
    data = recordings(tmp_path, 0)
    assert len({file.stat().st_size for file in tmp_path.rglob("*.npz")}) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.part("test", tmp_path)
        data.part("train", tmp_path)


@pytest.mark.parametrize("twice", [0, 1, 3])
def test_pictures_in_both_parts_are_counted(twice: int, tmp_path: Path) -> None:
    for number, (side, kind) in enumerate(
        [(s, c) for s in ("train", "test") for c in ("cat", "dog") for _ in range(4)]
    ):
        place = tmp_path / "pictures" / side / kind
        place.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(place / f"{number}.png")
    copied = sorted((tmp_path / "pictures" / "train").rglob("*.png"))[:twice]
    for file in copied:
        shutil.copyfile(file, tmp_path / "pictures" / "test" / "dog" / f"again {file.name}")
    data = ImageFolder(classes=("cat", "dog"), size=8, resize=None, validation_images=2)
    if twice:
        with pytest.warns(UserWarning, match=f"{twice} of {8 + twice} test files are in the training part too"):
            data.part("test", tmp_path)
    else:
        data.part("test", tmp_path)

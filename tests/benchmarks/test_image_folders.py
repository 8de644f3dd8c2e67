"""Does the benchmark of image folders decode every image, and notice bytes that depend on the workers?"""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import image_folders
from benchmarks.image_folders import SIZE, Epoch, measured, paint, picture
from spikeproof.data.image_files import PixelsInFiles

HERE = Path("/proc/self/smaps_rollup")


def test_pictures_are_of_the_size_of_photos() -> None:
    content = picture(np.random.default_rng(0), SIZE)
    assert Image.open(io.BytesIO(content)).size == SIZE
    assert 60 < len(content) / 1024 < 200


@pytest.mark.skipif(not HERE.exists(), reason="memory is read as Linux tells it")
def test_every_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    images = paint(tmp_path, 30, size=(270, 260))
    epochs = measured(images, [0, 1])
    assert [(epoch.workers, epoch.crop) for epoch in epochs] == [(n, c) for c in ("centre", "random") for n in (0, 1)]
    assert len({epoch.sha256 for epoch in epochs}) == 2
    for epoch in epochs:
        assert epoch.images == 30
        assert 1 < epoch.images_per_core_second < 100_000
        assert all(10 < mib < 10_000 for mib in epoch.memory_mib)


def test_other_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(images: object, workers: int, crop: str) -> Epoch:
        return Epoch(workers, "centre", 1, 1.0, 1.0, 1.0, [1.0], str(workers))

    monkeypatch.setattr(image_folders, "decoded", odd)
    images = paint(tmp_path, 1, size=(270, 260))
    assert isinstance(images.pixels, PixelsInFiles)
    with pytest.raises(SystemExit, match="the bytes depend on the number of workers"):
        measured(images, [0, 1])

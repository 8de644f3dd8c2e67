"""Are images in files decoded by worker processes the same for any number of them, and are bad ones named?"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikeproof.choices import UserError
from spikeproof.data import ImageFolder, Images
from spikeproof.data.crops import random_box, random_crop
from spikeproof.data.decoding import PIECE, Decoder, usable_cores, watched, workers_for
from spikeproof.data.image_files import Names, as_pixels
from tests.data.pictures import paint

ROWS = [torch.arange(20), torch.tensor([3, 1, 1, 22]), torch.arange(24).flip(0)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pictures of two classes for training and 4 for test, of many sizes."""
    return paint(tmp_path_factory.mktemp("pictures"), train=24, test=2)


def folder(**changes) -> ImageFolder:
    return ImageFolder(
        **({"classes": ("cat", "dog"), "size": 20, "resize": 24, "validation_images": 8} | changes)  # type: ignore[arg-type]
    )


def decoded(images: Images, workers: int, draw: int | None = None) -> list[torch.Tensor]:
    decoder = Decoder(images.pixels, workers)  # type: ignore[arg-type]
    try:
        return [as_pixels(torch.cat(pieces)) for pieces in decoder.batches(ROWS, draw)]
    finally:
        decoder.close()


@pytest.mark.parametrize("crop", ["centre", "random"])
def test_any_number_of_workers_gives_the_same_images_in_the_same_order(root: Path, crop: str) -> None:
    images = folder(crop=crop).published("train", root)
    before = torch.get_rng_state()
    alone = decoded(images, 0, draw=5)
    for workers in (1, 3):
        for x, same in zip(decoded(images, workers, draw=5), alone, strict=True):
            assert torch.equal(x, same)
    assert torch.equal(torch.get_rng_state(), before), "who draws afterwards draws as if nothing had been decoded"
    still = [images.pixels(rows) for rows in ROWS]
    assert all(torch.equal(x, y) for x, y in zip(alone, still, strict=True)) == (crop == "centre")


def test_random_crops_differ_by_draw_and_row_and_not_by_batch(root: Path) -> None:
    images = folder(crop="random").published("train", root)
    first, again, other = (decoded(images, 0, draw) for draw in (1, 1, 2))
    assert torch.equal(first[2], again[2])
    assert not torch.equal(first[2], other[2])
    assert torch.equal(first[0], first[2].flip(0)[:20]), "an image's crop does not depend on its batch"
    assert torch.equal(first[1][1], first[1][2])


def test_workers_stay_for_many_epochs_and_an_epoch_may_be_left(root: Path) -> None:
    images = folder().published("train", root)
    decoder = Decoder(images.pixels, 1)  # type: ignore[arg-type]
    try:
        next(decoder.batches(ROWS))
        for _ in range(2):
            found = [as_pixels(torch.cat(pieces)) for pieces in decoder.batches(ROWS[:2])]
            assert all(torch.equal(x, images.pixels(rows)) for x, rows in zip(found, ROWS, strict=False))
    finally:
        decoder.close()


def test_a_large_batch_is_decoded_in_pieces(root: Path) -> None:
    decoder = Decoder(folder().published("train", root).pixels, 0)  # type: ignore[arg-type]
    sizes = [[len(piece) for piece in pieces] for pieces in decoder.batches(ROWS)]
    assert sizes == [[PIECE, 4], [4], [PIECE, 8]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_jpeg_is_named(tmp_path: Path, workers: int) -> None:
    root = paint(tmp_path, train=12, test=1)
    broken = root / "pictures" / "train" / "dog" / "3.JPEG"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(UserError, match=r"^cannot decode the image dog/3\.JPEG in .*train: "):
        decoded(folder(validation_images=2).published("train", root), workers)


DIES = """
import os, signal, sys, torch
from pathlib import Path
from spikeproof.choices import UserError
from spikeproof.data import ImageFolder
from spikeproof.data.decoding import Decoder, watched
data = ImageFolder(classes=("cat", "dog"), size=20, resize=24, validation_images=8)
decoder = Decoder(data.published("train", Path(sys.argv[1])).pixels, 1)
try:
    with watched():
        for number, _ in enumerate(decoder.batches([torch.arange(24)] * 2000)):
            if number == 1:
                os.kill(decoder._loader._iterator._workers[0].pid, signal.SIGKILL)
except UserError as error:
    print(error, flush=True)
    os._exit(3)
"""


def test_a_worker_that_dies_is_told(root: Path) -> None:
    # in a process of its own: torch raises where the program happens to be, and this one goes on
    done = subprocess.run([sys.executable, "-c", DIES, str(root)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert re.match(r"a process that decodes images has died .*take fewer --workers", done.stdout)


def test_another_error_is_none_of_a_worker() -> None:
    with pytest.raises(RuntimeError, match="of something else"), watched():
        raise RuntimeError("of something else")


def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers_for(0) == 0
    assert workers_for(7) == 7
    assert 1 <= workers_for(None) <= max(1, usable_cores() - 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "10000")
    assert workers_for(None) == 1
    with pytest.raises(UserError, match=r"workers is a number of processes from 0 .* on, not -1"):
        workers_for(-1)


def test_names_in_one_piece() -> None:
    names = ["n01/a.JPEG", "", "süß/ß.png", os.fsdecode(b"\xff.jpg")]
    packed = Names(names)
    assert [*packed] == names
    assert len(packed) == 4
    assert packed[-1] == names[-1]
    with pytest.raises(IndexError):
        packed[4]


@pytest.mark.parametrize(("width", "height"), [(500, 375), (64, 64), (3, 800), (800, 3), (1, 1)])
def test_a_random_box_lies_in_the_picture(width: int, height: int) -> None:
    boxes = [random_box(width, height, draw) for draw in range(300)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    if min(width, height) < 64:
        return
    area = np.array([(r - x) * (b - y) / (width * height) for x, y, r, b in boxes])
    shape = np.array([(r - x) / (b - y) for x, y, r, b in boxes])
    assert 0.07 < area.min() < 0.15
    assert 0.85 < area.max() <= 1
    assert 0.7 < shape.min() < 0.8
    assert 1.25 < shape.max() < 1.4
    assert len({x for x, _, _, _ in boxes}) > 20


def test_a_random_crop_is_its_box_scaled() -> None:
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1)))
    left, _, right, _ = random_box(200, 200, 7)
    seen = np.asarray(random_crop(ramp, 50, 7))
    assert seen.shape == (50, 50)
    assert seen[0, 0] == pytest.approx(left + (right - left) / 100, abs=1.5)
    assert seen[-1, -1] == pytest.approx(right - (right - left) / 100, abs=1.5)


def test_an_image_folder_gives_its_parts(root: Path) -> None:
    data = folder()
    train, validation, test = (data.part(name, root) for name in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (40, 8, 4)
    assert data.shape == (3, 20, 20)
    assert validation.labels.bincount().tolist() == [4, 4]
    x, y = test.batch(range(4))
    assert x.shape == (4, 3, 20, 20)
    assert y.tolist() == [0, 0, 1, 1]
    assert x[:2, 0].mean() > x[:2, 2].mean(), "cats are red"
    assert x[2:, 2].mean() > x[2:, 0].mean(), "dogs are blue"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"folder": "nowhere"}, "there is no folder train in .*nowhere, with a folder a class"),
        ({"classes": ("cat", "cow")}, "has no folder cow and a folder dog that is none of the classes: .* its 2 fold"),
        ({"classes": ("cat", "cow", "dog")}, "has no folder cow: classes names its 2 folders"),
        ({"classes": ("cat",)}, "classes names each folder of pictures once, two or more"),
        ({"classes": ("cat", "cat")}, "classes names each folder of pictures once, two or more"),
        ({"resize": 19}, "resize is at least the size that is cut out, 20; not 19"),
        ({"validation_images": 48}, "validation_images must be 1 to 47, not 48"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(root: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        folder(**changes).part("train", root)


def test_folders_without_classes_and_without_pictures_are_refused(tmp_path: Path) -> None:
    train = tmp_path / "pictures" / "train"
    train.mkdir(parents=True)
    with pytest.raises(UserError, match="train has no folders: put the pictures of each class into one"):
        folder().part("train", tmp_path)
    for name in ("cat", "dog"):
        (train / name).mkdir()
    Image.new("RGB", (30, 30)).save(train / "dog" / "a.png")
    with pytest.raises(UserError, match=r"there are no pictures \(.jpeg, .jpg, .png\) of cat in"):
        folder().part("train", tmp_path)

"""Which data set reads what lies in a folder or a .npz file? Classes, sizes and statistics are taken from the files."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from spikeproof.choices import UserError
from spikeproof.data.arrays import Arrays, Layout, in_planes, layout_of, pair_in, read_arrays, whole_labels
from spikeproof.data.data_sets import DataSet
from spikeproof.data.events.files import SUFFIXES as RECORDINGS
from spikeproof.data.events.files import read_events
from spikeproof.data.events.folders import EventFolder
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.streams import Sensor
from spikeproof.data.image_files import SUFFIXES as PICTURES
from spikeproof.data.image_folders import ImageFolder
from spikeproof.untrusted.words import brief, printable

SIDE = 64  # pixels: larger pictures and frames are made as small as this, unless another size is asked for
LOOKED_AT = 500  # pictures whose sizes are read, and images that statistics are of
TEST, VALIDATION = 0.2, 0.1  # shares that are drawn where no folder is for them
Data = TypeVar("Data", bound=DataSet)


def data_in(
    path: Path | str, *, size: int | None = None, sensor: Sensor | None = None, layout: Layout | None = None
) -> tuple[DataSet, Path]:
    """The data set of what lies at `path`, and the root that its parts are read from: ``data.part("test", root)``.

    A folder of pictures (.jpg, .png) in folders that are named as their classes becomes an `ImageFolder`, with train/
    and test/ or val/ above them or without. So does one of recordings become an `EventFolder`, and a .npz file
    `Arrays`. `size` is the side of pictures in pixels (default: that of the smallest, at most 64); a `sensor` and a
    `layout` are asked for where the files do not say them. Mean and standard deviation are those of up to 500 training
    images. Raises `UserError` that says what was found where nothing of this is there.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"there is no folder or file {path.absolute()}")
    path = path.resolve()
    if path.is_file():
        if path.suffix != ".npz":
            raise UserError(f"{path} is a file: name the folder of pictures or recordings, or a .npz file")
        return _arrays(path, layout), path.parent
    found = Counter(file.suffix.lower() for file in path.rglob("*") if file.is_file())
    pictures, recordings = (sum(found[suffix] for suffix in suffixes) for suffixes in (PICTURES, RECORDINGS))
    if not pictures and not recordings:
        seen = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in found.most_common(3))
        raise UserError(
            f"there are no pictures ({', '.join(PICTURES)}) and no recordings ({', '.join(RECORDINGS)}) in {path}; "
            f"it holds {printable(brief(seen)) or 'nothing'}"
        )
    return (_pictures(path, size) if pictures >= recordings else _recordings(path, sensor)), path.parent


def _pictures(path: Path, size: int | None) -> ImageFolder:
    split = (path / "train").is_dir()
    side = path / "train" if split else path
    classes = _classes(side, PICTURES)
    files = [file for name in classes for file in sorted((side / name).iterdir()) if file.suffix.lower() in PICTURES]
    sizes, grey = _looked_at(files[:: max(1, len(files) // LOOKED_AT)])
    smallest = min(min(each) for each in sizes)
    size = size or min(SIDE, smallest)
    count = len(files) if not split else 0
    channels: Any = 1 if grey else 3
    data = ImageFolder(
        folder=path.name,
        classes=classes,
        size=size,
        resize=None if sizes == {(size, size)} else size,
        crop="centre",
        channels=channels,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        test_images=_share(TEST, count, classes) if count else None,
        validation_images=_share(VALIDATION, len(files) - int(TEST * count), classes),
        augmentation=(),
    )
    return with_statistics(data, path.parent)


def _looked_at(files: list[Path]) -> tuple[set[tuple[int, int]], bool]:
    """The sizes of pictures, and whether all are grey; their pixels are not decoded."""
    from PIL import Image

    sizes, modes = set(), set()
    for file in files:
        try:
            with Image.open(file) as picture:
                sizes.add(picture.size)
                modes.add(picture.mode)
        except Exception as error:  # Pillow raises system, syntax, struct, value, memory and bomb errors
            raise UserError(f"cannot read the picture {file}: {printable(brief(str(error)))}") from error
    return sizes, modes <= {"1", "L", "LA", "I", "I;16", "F"}


def _recordings(path: Path, sensor: Sensor | None) -> EventFolder:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in RECORDINGS)
    classes = tuple(sorted({file.parent.name for file in files}))
    if len(classes) < 2 or path.name in classes:
        raise UserError(f"{path} holds recordings of {len(classes)} class: put those of each class into a folder of it")
    try:
        sensor = read_events(files[0], sensor).sensor
    except UserError as error:
        raise UserError(f"{error}" if sensor else f"{error}\non the command line: --sensor 34x34") from error
    test = _share(TEST, len(files), classes)
    return EventFolder(
        folder=path.name,
        classes=classes,
        sensor=sensor,
        framing=Framing(by="number", values="binary", pool=-(-max(sensor.height, sensor.width) // SIDE)),
        test_images=test,
        validation_images=_share(VALIDATION, len(files) - test, classes),
    )


def _arrays(path: Path, layout: Layout | None) -> Arrays:
    arrays = read_arrays(path)
    split = any(name.startswith("train_") or name.endswith("_train") for name in arrays)
    x, y = pair_in(arrays, path, "train" if split else None)
    layout = layout or layout_of(x, path)
    pixels, labels = in_planes(x, layout, path), whole_labels(y, len(x), path)
    several = pair_in(arrays, path, "test")[1] if split else y
    classes = tuple(str(label) for label in range(int(max(labels.max(), several.max())) + 1))
    test = None if split else _share(TEST, len(x), classes)
    channels = pixels.shape[1]
    data = Arrays(
        file=path.name,
        shape=(channels, *pixels.shape[2:]),
        classes=classes,
        layout=layout,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        test_images=test,
        validation_images=_share(VALIDATION, len(x) - (test or 0), classes),
    )
    return with_statistics(data, path.parent)


def with_statistics(data: Data, root: Path) -> Data:
    """The same with the mean and the standard deviation of its training images, of up to 500 of them."""
    train = data.part("train", root)
    x, _ = train.batch(range(min(LOOKED_AT, len(train))))
    mean, std = (tuple(round(float(each), 4) for each in found) for found in (x.mean((0, 2, 3)), x.std((0, 2, 3))))
    return replace(data, mean=mean, std=tuple(max(each, 1e-3) for each in std))  # type: ignore[type-var]


def _classes(side: Path, suffixes: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(sorted(entry.name for entry in side.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if len(found) < 2:
        raise UserError(
            f"{side} holds {len(found)} folders: put the pictures of each class into one that is named as it, "
            "directly, or in train and test"
        )
    return found


def _share(share: float, count: int, classes: tuple[str, ...]) -> int:
    """So many of `count`, at least one a class, and at least one left."""
    return max(1, min(count - 1, max(len(classes), round(share * count))))

"""Are published sets of recordings read from their publishers' folders: frames, labels, classes and parts?"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from spikeproof.choices import UserError
from spikeproof.data import (
    ASLDVS,
    CIFAR10DVS,
    NMNIST,
    SHD,
    SSC,
    DVS128Gesture,
    Framing,
    Images,
    NCaltech101,
)
from spikeproof.data.events.recordings import EventDataSet
from tests.data.event_files import Event, aedat_2_bytes, aedat_3_bytes, bin_bytes, mat_bytes, save_spikes

Known = tuple[str, list[Event]]  # a class and the events of its recording
Cells = tuple[tuple[int, ...], ...]  # frame, polarity, row, column, number of events
SPAN = 100


def written(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def events_of(number: int) -> list[Event]:
    """A recording that is told from others by where its events are; the last one comes in the third frame."""
    t = 1000 + 7 * number
    column, row = number % 30, number // 30
    return [(t, column, row, 0), (t + 40, column, row, 0), (t + 120, column, 9, 1), (t + 250, 3, row, 1)]


def folders(
    root: Path,
    classes: Sequence[str],
    path: str,
    content: Callable[[list[Event]], bytes],
    each: int = 2,
    first: int = 0,
) -> list[Known]:
    """`each` recordings in the folder of each class, numbered from `first` on."""
    known = []
    for name in classes:
        for turn in range(each):
            number = first + len(known)
            written(root / path.format(name=name, turn=turn), content(events_of(number)))
            known.append((name, events_of(number)))
    return known


def nmnist(root: Path) -> tuple[list[Known], list[Known]]:
    digits = "0123456789"
    train = folders(root, digits, "NMNIST/Train/{name}/0000{turn}.bin", bin_bytes, each=3)
    return train, folders(root, digits, "NMNIST/Test/{name}/0000{turn}.bin", bin_bytes, first=len(train))


def cifar10_dvs(root: Path) -> tuple[list[Known], list[Known]]:
    return folders(root, CIFAR10, "CIFAR10DVS/{name}/cifar10_{name}_{turn}.aedat", aedat_2_bytes), []


def n_caltech101(root: Path) -> tuple[list[Known], list[Known]]:
    return folders(root, CALTECH, "Caltech101/{name}/image_000{turn}.bin", bin_bytes, each=1), []


def asl_dvs(root: Path) -> tuple[list[Known], list[Known]]:
    return folders(root, "abcdefghiklmnopqrstuvwxy", "ASLDVS/{name}/{name}_000{turn}.mat", mat_bytes), []


def gestures(root: Path) -> tuple[list[Known], list[Known]]:
    """Two users for training and one for test, each a recording of some gestures, with events after each of them."""
    folder, users = root / "DvsGesture", {}
    for user, kinds in ((1, (1, 2, 11)), (2, (6, 6)), (24, (11, 1))):
        known, everything, lines = [], [(5, 100, 100, 1)], ["class,startTime_usec,endTime_usec"]
        for turn, kind in enumerate(kinds):
            events = [(t + 2000 * turn, *rest) for t, *rest in events_of(10 * user + turn)]
            start, end = events[0][0], events[0][0] + 130
            lines.append(f"{kind},{start},{end}")
            everything += [*events[:3], (end, 101, 100, 0), *events[3:]]
            known.append((GESTURES[kind - 1], events[:3]))
        written(folder / f"user{user:02}_led.aedat", aedat_3_bytes(everything))
        written(folder / f"user{user:02}_led_labels.csv", "\n".join(lines).encode())
        users[user] = known
    written(folder / "trials_to_train.txt", b"user01_led.aedat\nuser02_led.aedat\n\n")
    written(folder / "trials_to_test.txt", b"user24_led.aedat\n")
    return [*users[1], *users[2]], users[24]


def heidelberg(path: str, classes: Sequence[str]) -> Callable[[Path], tuple[list[Known], list[Known]]]:
    def write(root: Path) -> tuple[list[Known], list[Known]]:
        h5py = pytest.importorskip("h5py")
        both = []
        for part, labels in (("train", [3, 0, 19, 3, 7]), ("test", [12, 3])):
            # 16 bits hold eighths of 1 s exactly, and the first spike is not at 0.
            spikes = [([0.125, 0.125, 0.25, 0.5], [row, 699, len(part), 5]) for row in range(len(labels))]
            file = root / path.format(part)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_spikes(file, h5py, spikes, labels)
            events = [[(round(s * 1e6), x, 0, 0) for s, x in zip(*each, strict=True)] for each in spikes]
            both.append([(classes[label], each) for label, each in zip(labels, events, strict=True)])
        train, test = both
        return train, test

    return write


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CALTECH = ("BACKGROUND_Google", "Faces_easy", "Leopards", *(f"object {number:02}" for number in range(98)))
GESTURES = (
    *("hand clapping", "right hand wave", "left hand wave", "right hand clockwise", "right hand counter clockwise"),
    *("left hand clockwise", "left hand counter clockwise", "arm roll", "air drums", "air guitar", "other"),
)
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *GERMAN)
COMMANDS = tuple(f"command {number}" for number in range(35))


@dataclass(frozen=True)
class Published:
    """A set, how a small copy of it is written (training and test recordings), its classes and published numbers."""

    kind: type[EventDataSet]
    write: Callable[[Path], tuple[list[Known], list[Known]]]
    classes: tuple[str, ...]
    numbers: tuple[int, ...]  # of train and test, or of all
    framing: Framing = Framing(steps=2, span=SPAN)


LATE = Framing(steps=30, span=10_000, since="zero")  # to 300 ms, so that the spike at 500 is left out
SETS = (
    Published(NMNIST, nmnist, tuple("0123456789"), (60_000, 10_000)),
    Published(DVS128Gesture, gestures, GESTURES, (1176, 288)),
    Published(SHD, heidelberg("SHD/shd_{}.h5", WORDS), WORDS, (8156, 2264), LATE),
    Published(SSC, heidelberg("SSC/ssc_{}.h5", COMMANDS), COMMANDS, (75_466, 20_382), LATE),
    Published(CIFAR10DVS, cifar10_dvs, CIFAR10, (10_000,)),
    Published(NCaltech101, n_caltech101, CALTECH, (8709,)),
    Published(ASLDVS, asl_dvs, tuple("abcdefghiklmnopqrstuvwxy"), (100_800,)),
)
every_set = pytest.mark.parametrize("published", SETS, ids=lambda published: published.kind.__name__)


def by_hand(framing: Framing, known: Sequence[Known]) -> list[tuple[str, Cells]]:
    """Each class with the cells of its frames that have events, one event after the other."""
    listed = []
    for name, events in known:
        start = 0 if framing.since == "zero" else events[0][0]
        cells = Counter(((t - start) // framing.span, p, y, x) for t, x, y, p in events)
        listed.append((name, tuple(sorted((*c, n) for c, n in cells.items() if c[0] < framing.steps))))
    return listed


def found(images: Images) -> list[tuple[str, Cells]]:
    listed = []
    for index in range(len(images)):
        (frames,), (label,) = images.batch([index])
        listed.append((images.classes[label], tuple((*at, int(frames[*at])) for at in frames.nonzero().tolist())))
    return listed


@every_set
def test_a_published_set_is_read_whole_and_in_parts(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = published.write(tmp_path)
    if published.kind.resplit:
        monkeypatch.setattr(published.kind, "recordings", len(train))
        choice = published.kind(framing=published.framing, validation_images=4, test_images=7)  # type: ignore[call-arg]
    else:
        monkeypatch.setattr(published.kind, "published_train", len(train))
        monkeypatch.setattr(published.kind, "published_test", len(test))
        choice = published.kind(framing=published.framing, validation_images=2)  # type: ignore[call-arg]
    parts = {name: choice.part(name, tmp_path) for name in ("train", "validation", "test")}
    assert {images.classes for images in parts.values()} == {published.classes}
    read = {name: found(images) for name, images in parts.items()}
    assert len(read["validation"]) == choice.validation_images
    shared = [*read["train"], *read["validation"]]
    if published.kind.resplit:
        assert len(read["test"]) == 7
        shared += read["test"]
    else:
        assert read["test"] == by_hand(published.framing, test)  # in the order of the files
    assert sorted(shared) == sorted(by_hand(published.framing, train))
    frames, _ = parts["test"].batch([0])
    assert frames.shape == (1, *choice.shape)


@every_set
def test_an_incomplete_copy_is_refused(published: Published, tmp_path: Path) -> None:
    train, test = published.write(tmp_path)
    name = published.kind.__name__
    if published.kind.resplit:
        said = [f"{name} has {published.numbers[0]:,} published recordings, but {len(train)} are in .*"] * 2
    else:
        there = zip(("train", "test"), published.numbers, (len(train), len(test)), strict=True)
        said = [
            f"{name} has {number:,} published {part} images, but {count} are in .*" for part, number, count in there
        ]
    for part, message in zip(("train", "test"), said, strict=True):
        with pytest.raises(UserError, match=f"{message}; the copy is not the published one"):
            published.kind().part(part, tmp_path)


def test_folders_that_are_none_of_the_101(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = n_caltech101(tmp_path)
    written(tmp_path / "Caltech101" / "another" / "image_0000.bin", bin_bytes(events_of(0)))
    monkeypatch.setattr(NCaltech101, "recordings", len(train) + 1)
    with pytest.raises(UserError, match="Caltech101 has 101 folders of recordings, and 102 are there"):
        NCaltech101().part("train", tmp_path)


def test_lines_that_are_no_labels_are_left_out_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = gestures(tmp_path)
    labels = tmp_path / "DvsGesture" / "user01_led_labels.csv"
    labels.write_text(labels.read_text() + "\nthe end,0,0\n")
    monkeypatch.setattr(DVS128Gesture, "published_train", len(train))
    monkeypatch.setattr(DVS128Gesture, "published_test", len(test))
    framing = SETS[1].framing
    with pytest.raises(UserError, match=r"user01_led_labels.csv: line 5: 'the end,0,0' is no class"):
        DVS128Gesture(framing=framing, validation_images=2).part("train", tmp_path)
    choice = DVS128Gesture(framing=framing, validation_images=2, repair=True)
    both = [*found(choice.part("train", tmp_path)), *found(choice.part("validation", tmp_path))]
    assert sorted(both) == sorted(by_hand(framing, train))


def test_gestures_without_events_are_beyond_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = gestures(tmp_path)
    file = tmp_path / "DvsGesture" / "user02_led.aedat"
    file.write_bytes(file.read_bytes()[:-90])  # the second gesture
    monkeypatch.setattr(DVS128Gesture, "published_train", len(train))
    part = DVS128Gesture(validation_images=1, repair=True).part("train", tmp_path)
    with pytest.raises(UserError, match=r"user02_led.aedat: gestures without events are beyond repair"):
        part.batch(range(len(part)))

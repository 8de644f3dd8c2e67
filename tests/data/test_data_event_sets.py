"""Are the parts of sets of recordings disjoint, in proportion and repeatable, and their frames those of the files?"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from spikeproof import data
from spikeproof.attacks import FrameLinf
from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.data import (
    Arrays,
    DataSet,
    Digits,
    EventFolder,
    Framing,
    HorizontalFlip,
    Images,
    PartName,
    RandomCrop,
    Sensor,
    read_events,
    write_events,
)
from spikeproof.data.events import recordings
from spikeproof.data.events.recordings import packed
from spikeproof.snn import Frames, Network, ReLU
from spikeproof.training import Recipe, Selection, Training
from tests.data.event_files import Event, bin_bytes

SETS = [getattr(data, name) for name in data.__all__ if isinstance(getattr(data, name), type)]
SETS = [kind for kind in SETS if issubclass(kind, DataSet) and kind not in (DataSet, Arrays)]
SETS = [kind for kind in SETS if len(kind().shape) == 4]
every_set = pytest.mark.parametrize("kind", SETS)

SENSOR = Sensor(height=10, width=10)
FRAMING = Framing(steps=2, span=100)
COUNTS = {"cat": 40, "dog": 20, "eel": 10}  # 70 recordings
FOLDER = EventFolder(
    folder="animals",
    classes=("dog", "eel", "cat"),
    sensor=SENSOR,
    framing=FRAMING,
    validation_images=14,
    test_images=21,
)


def events_of(number: int) -> list[Event]:
    """A recording that is told by its one pixel, at 5000 and 5150 us."""
    return [(5000, number % 10, number // 10, 0), (5150, number % 10, number // 10, 1)]


def write_animals(root: Path, *, backwards: bool = False) -> Path:
    """The recordings, each in the folder of its class, some of them deeper; numbered through in the order of names."""
    names = [name for name, count in COUNTS.items() for _ in range(count)]
    for number in sorted(range(len(names)), reverse=backwards):
        folder = root / "animals" / ("b" if number % 3 else "a") / names[number]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03}.bin").write_bytes(bin_bytes(events_of(number)))
    return root


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_animals(tmp_path_factory.mktemp("data"))


def numbers(images: Images) -> list[int]:
    """Which recordings these are, by their pixels; each is one of those written, with its own label."""
    x, y = images.batch(range(len(images)))
    assert x.flatten(1).sum(1).tolist() == [2] * len(x)
    assert torch.equal(x[:, 0, 0], x[:, 1, 1])  # off in the first frame, on in the second
    found = x[:, 0, 0].flatten(1).argmax(1).tolist()
    names = ["cat" if n < 40 else "dog" if n < 60 else "eel" for n in found]
    assert [images.classes[label] for label in y] == names
    return found


def parts(folder: EventFolder, root: Path) -> dict[PartName, list[int]]:
    return {name: numbers(folder.part(name, root)) for name in ("train", "validation", "test")}


def test_parts_are_disjoint_complete_and_in_proportion(animals: Path) -> None:
    found = parts(FOLDER, animals)
    assert {name: len(part) for name, part in found.items()} == {"train": 35, "validation": 14, "test": 21}
    assert sorted(n for part in found.values() for n in part) == list(range(70))
    for part in found.values():
        of = {
            name: sum(first <= n < last for n in part)
            for name, first, last in (("cat", 0, 40), ("dog", 40, 60), ("eel", 60, 70))
        }
        for name, count in of.items():
            assert abs(count - len(part) * COUNTS[name] / 70) <= 1, (name, count, len(part))


def test_beginnings_of_the_training_part_are_in_proportion_too(animals: Path) -> None:
    fewer = dataclasses.replace(FOLDER, train_images=14)
    found = parts(fewer, animals)
    assert found["train"] == parts(FOLDER, animals)["train"][:14]
    assert [sum(first <= n < last for n in found["train"]) for first, last in ((0, 40), (40, 60), (60, 70))] == [
        8,
        4,
        2,
    ]


def test_each_seed_has_its_own_split(animals: Path) -> None:
    splits = [parts(FOLDER.seeded(seed), animals) for seed in range(6)]
    assert splits[0] == parts(FOLDER, animals)
    assert parts(FOLDER.seeded(3), animals) == splits[3]
    for name in ("train", "validation", "test"):
        assert len({frozenset(split[name]) for split in splits}) == 6
    tested = set().union(*(split["test"] for split in splits))
    assert len(tested) > 50
    shared = len(set(splits[0]["test"]) & set(splits[1]["test"]))
    assert shared < 15  # 6.3 of 21 where the two are drawn apart


def test_sizes_of_validation_and_training_leave_the_test_part_alone(animals: Path) -> None:
    test = parts(FOLDER, animals)["test"]
    assert numbers(dataclasses.replace(FOLDER, validation_images=5, train_images=20).part("test", animals)) == test
    assert numbers(dataclasses.replace(FOLDER, test_images=30).part("test", animals))[:21] == test


def test_a_recipe_with_another_seed_has_another_split() -> None:
    training = Training(selection=Selection(threat=FrameLinf(0.5)))
    ann = Recipe(name="a", data=FOLDER, network=Network(encoder=Frames(), neuron=ReLU()), training=training, seed=7)
    recipe = Recipe(name="r", data=FOLDER, network=Network(encoder=Frames()), training=training, ann=ann)
    shifted = recipe.seeded(3)
    assert shifted.seed == 3
    assert shifted.data == dataclasses.replace(FOLDER, split_seed=3)
    assert shifted.ann.seed == 10
    assert shifted.ann.data == shifted.data  # both are tested on what neither was trained on
    assert shifted.seeded(0) == recipe
    assert Recipe(name="d").seeded(3).data == Digits()  # with a test set of its own


@every_set
def test_a_published_test_set_is_never_drawn(kind: type[DataSet]) -> None:
    choice = kind()
    assert choice.resplit is (choice.published_test is None)
    assert (choice.seeded(2).split_seed == choice.split_seed + 2) is choice.resplit


def test_the_order_of_the_file_system_does_not_matter(
    animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = parts(FOLDER, animals)
    other = write_animals(tmp_path / "quite" / "elsewhere", backwards=True)
    assert parts(FOLDER, other) == expected
    listing = Path.rglob

    def backwards(self: Path, pattern: str) -> Iterator[Path]:
        return iter(sorted(listing(self, pattern), reverse=True))

    monkeypatch.setattr(Path, "rglob", backwards)
    assert parts(FOLDER, other) == expected
    monkeypatch.setenv("SPIKEPROOF_DATA", str(other))
    assert numbers(FOLDER.part("test")) == expected["test"]


def test_frames_are_those_of_the_events_from_their_first_on(animals: Path) -> None:
    part = FOLDER.part("validation", animals)
    x, _ = part.batch([3, 0])
    assert x.dtype == torch.float32
    assert x.shape == (2, *FOLDER.shape) == (2, 2, 2, 10, 10)
    number = numbers(part)[3]
    [file] = animals.rglob(f"{number:03}.bin")
    assert torch.equal(x[0], FRAMING([read_events(file, SENSOR).from_zero()])[0])
    x.zero_()  # what was given away is not what is kept
    assert part.batch([3])[0].sum() == 2
    assert torch.equal(part.batch([3])[0][0], part.select([3]).batch([0])[0][0])


@pytest.mark.filterwarnings("ignore:.* test files are in the training part too")
def test_files_of_every_format_and_spelling_are_found(tmp_path: Path) -> None:
    for name, suffix in (("dog", "bin"), ("cat", "BIN"), ("eel", "npz")):
        for number in range(3):
            path = tmp_path / "animals" / name / f"{suffix}{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bin_bytes(events_of(number)))
            if suffix == "npz":
                bin_file = path.with_suffix(".bin")
                bin_file.write_bytes(path.read_bytes())
                path.unlink()
                write_events(path, read_events(bin_file, SENSOR))
                bin_file.unlink()
    (tmp_path / "animals" / "notes.txt").write_text("no recording")
    folder = dataclasses.replace(FOLDER, test_images=2, validation_images=2)
    found = [len(folder.part(name, tmp_path)) for name in ("train", "validation", "test")]
    assert found == [5, 2, 2]


def refused(folder: EventFolder, root: Path, said: str, part: PartName = "train") -> None:
    with pytest.raises(UserError, match=said):
        folder.part(part, root)


def test_what_does_not_fit_is_refused(animals: Path, tmp_path: Path) -> None:
    without = dataclasses.replace(FOLDER, classes=("dog", "cat"))
    refused(without, animals, r"060.bin: its folder 'eel' is none of the classes dog, cat")
    with_more = dataclasses.replace(FOLDER, classes=("ant", "cat", "dog", "eel", "fox"))
    refused(with_more, animals, "there are no recordings of ant, fox in .*animals")
    refused(dataclasses.replace(FOLDER, folder="plants"), animals, r"there are no recordings \(.bin, .*in .*plants")
    refused(FOLDER, tmp_path, rf"there are no recordings .*{tmp_path.name}")
    for name in ("train", "test"):
        for most in (70, 1000):
            many = dataclasses.replace(FOLDER, test_images=most)
            refused(many, animals, "animals has 70 recordings: test_images must be 1 to 69", name)
    refused(dataclasses.replace(FOLDER, validation_images=49), animals, "validation_images must be 1 to 48, not 49")
    refused(dataclasses.replace(FOLDER, train_images=36), animals, "train_images must be 1 to 35, or None")
    assert len(dataclasses.replace(FOLDER, test_images=67, validation_images=2).part("train", animals)) == 1


def test_a_damaged_file_is_refused_by_its_name_when_it_is_asked_for(tmp_path: Path) -> None:
    root = write_animals(tmp_path)
    [file] = root.rglob("007.bin")
    file.write_bytes(file.read_bytes()[:-1])
    names: tuple[PartName, ...] = ("train", "validation", "test")
    said = []
    for part in (FOLDER.part(name, root) for name in names):
        for index in range(len(part)):
            try:
                part.batch([index])
            except UserError as error:
                said.append(str(error))
    assert len(said) == 1
    assert "007.bin: truncated: of event 1 there are 4 of 5 bytes" in said[0]
    repaired = dataclasses.replace(FOLDER, repair=True)
    kept = [repaired.part(name, root) for name in names]
    assert sum(int(part.batch(range(len(part)))[0].sum()) for part in kept) == 139


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"test_images": 0}, "test_images of EventFolder must be a whole number from 1 on, not 0"),
        ({"classes": ("cat",)}, "classes names each folder of recordings once, two or more; not cat"),
        ({"classes": ("cat", "dog", "cat")}, "classes names each folder .*not cat, dog, cat"),
        ({"split_seed": -1}, "split_seed of EventFolder must be a whole number from 0 on, not -1"),
        ({"augmentation": (3,)}, r"augmentation\[0\] of EventFolder must be an Augmentation, not 3"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_before_anything_is_read(fields: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        EventFolder(**fields)


@every_set
def test_a_set_is_read_back_as_it_was_written(kind: type[DataSet]) -> None:
    changed = kind(  # type: ignore[call-arg]
        train_images=20,
        validation_images=30,
        split_seed=4,
        framing=Framing(steps=3, crop=(1, 30), values="binary"),
        augmentation=(RandomCrop(), HorizontalFlip()),
    )
    for choice in (kind(), changed):
        assert from_config(to_config(choice), DataSet) == choice
        assert hash(choice) == hash(dataclasses.replace(choice))  # type: ignore[type-var]


@every_set
def test_the_facts_of_a_set_fit_each_other(kind: type[DataSet]) -> None:
    choice = kind()
    steps, polarities, height, width = choice.shape
    assert steps == choice.framing.steps
    assert (polarities, height, width) == choice.sensor.shape  # neither cropped nor pooled by default
    assert choice.mean == (0.0,) * polarities
    assert choice.std == (1.0,) * polarities
    assert len(set(choice.classes)) == len(choice.classes) >= 2
    assert (choice.published_train is None) is (choice.published_test is None)
    halved = dataclasses.replace(choice, framing=Framing(steps=7, pool=2))  # type: ignore[type-var]
    assert halved.shape == (7, polarities, (height + 1) // 2, (width + 1) // 2)


@every_set
@pytest.mark.parametrize("name", ["train", "test"])
def test_a_missing_set_says_what_is_missing_where(kind: type[DataSet], name: PartName, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        kind().part(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert kind.by_hand in str(caught.value)
    assert kind is EventFolder or "http" in kind.by_hand


@pytest.mark.parametrize(
    ("cells", "most", "shape", "nbytes"),
    [
        (10, 1, (1, 2, 10, 10), 20),  # a byte, and a byte for its place of 200
        (690, 1, (6, 2, 17, 17), 2070),  # 3 bytes each, of 3,468
        (690, 255, (6, 2, 17, 17), 2070),
        (690, 256, (6, 2, 17, 17), 2760),
        (3468, 9, (6, 2, 17, 17), 3468),  # every cell
        (3468, 70_000, (6, 2, 17, 17), 4 * 3468),
        (100, 7, (16, 2, 128, 128), 500),  # 5 bytes each, of 524,288
        (0, 0, (2, 1, 1, 700), 0),
    ],
)
def test_frames_are_kept_exactly_in_few_bytes(cells: int, most: int, shape: tuple[int, ...], nbytes: int) -> None:
    frames = torch.zeros(shape)
    frames.view(-1)[torch.randperm(frames.numel())[:cells]] = torch.linspace(most, 1, max(cells, 1)).round()[:cells]
    kept = packed(frames)
    assert torch.equal(kept.unpacked(shape), frames)
    assert kept.unpacked(shape).dtype == torch.float32
    assert kept.nbytes == nbytes


def test_a_file_is_read_once(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = FOLDER.part("validation", animals)
    first, _ = part.batch(range(len(part)))
    monkeypatch.setattr(recordings, "read_events", None)
    assert torch.equal(part.batch(range(len(part)))[0], first)

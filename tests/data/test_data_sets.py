"""Can every data set be written down, and are its parts disjoint, repeatable and of the right size?"""

import dataclasses
from pathlib import Path

import pytest
import torch

from spikeproof import data
from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.data import (
    CIFAR10,
    MNIST,
    Arrays,
    Cutout,
    DataSet,
    Digits,
    HorizontalFlip,
    ImageFolder,
    ImageNet,
    RandomCrop,
)
from spikeproof.data.published_files import data_root

SETS = [getattr(data, name) for name in data.__all__ if isinstance(getattr(data, name), type)]
SETS = [kind for kind in SETS if issubclass(kind, DataSet) and kind not in (DataSet, Arrays)]
SETS = [kind for kind in SETS if len(kind().shape) == 3]
SETS.remove(ImageFolder)  # which nobody has published


@pytest.fixture(scope="module")
def digits() -> dict[str, torch.Tensor]:
    """All pixels of each part."""
    return {name: pixels(Digits(), name) for name in ("train", "validation", "test")}


def pixels(dataset: DataSet, name: data.PartName) -> torch.Tensor:
    part = dataset.part(name)
    return part.batch(range(len(part)))[0].flatten(1)


def as_set(images: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(image) for image in images.tolist()}


def test_all_seven_sets_of_images_are_public() -> None:
    assert len(SETS) == 7
    assert set(data.__all__) <= set(dir(data))


@pytest.mark.parametrize("kind", SETS)
def test_a_set_is_read_back_as_it_was_written(kind: type[DataSet]) -> None:
    changed = kind(train_images=20, validation_images=30, split_seed=4, augmentation=(Cutout(size=3), RandomCrop()))  # type: ignore[call-arg]
    for choice in (kind(), changed):
        assert from_config(to_config(choice), DataSet) == choice
        assert hash(choice) == hash(dataclasses.replace(choice))  # type: ignore[type-var]


@pytest.mark.parametrize("kind", SETS)
def test_the_facts_of_a_set_fit_each_other(kind: type[DataSet]) -> None:
    channels, height, width = kind.shape
    assert len(kind.mean) == len(kind.std) == channels
    assert all(0 < m < 1 for m in kind.mean)
    assert all(0 < s < 1 for s in kind.std)
    assert height == width
    assert len(set(kind.classes)) == len(kind.classes)
    assert kind().validation_images < kind.published_train
    for download in kind.downloads:
        assert len(download.md5) == 32


def test_numbers_of_classes() -> None:
    assert {kind.__name__: len(kind.classes) for kind in SETS} == {
        "Digits": 10,
        "MNIST": 10,
        "FashionMNIST": 10,
        "CIFAR10": 10,
        "CIFAR100": 100,
        "TinyImageNet": 200,
        "ImageNet": 1000,
    }


def test_only_sets_without_signs_are_mirrored_by_default() -> None:
    mirrored = {kind.__name__ for kind in SETS if HorizontalFlip() in kind().augmentation}
    assert mirrored == {"CIFAR10", "CIFAR100", "TinyImageNet", "ImageNet"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_images": 0}, "validation_images of MNIST must be a whole number from 1 on, not 0"),
        ({"validation_images": -5}, "validation_images of MNIST must be a whole number from 1 on, not -5"),
        ({"validation_images": 60_000}, "validation_images must be 1 to 59999, not 60000"),
        ({"train_images": 0}, "train_images of MNIST must be a whole number from 1 on or None, not 0"),
        ({"train_images": 55_001}, "train_images must be 1 to 55000, or None.*not 55001"),
        ({"split_seed": -1}, "split_seed of MNIST must be a whole number from 0 on, not -1"),
        (
            {"augmentation": RandomCrop()},
            "augmentation of MNIST must be a list, each of it an Augmentation, not RandomCrop",
        ),
        ({"augmentation": ("flip",)}, r"augmentation\[0\] of MNIST must be an Augmentation, not 'flip'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MNIST(**settings)


def test_bad_settings_in_a_config_are_refused() -> None:
    with pytest.raises(UserError, match="train_images must be"):
        from_config({"class_path": "MNIST", "init_args": {"train_images": 60_000}}, DataSet)


def test_an_unknown_part_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown part 'tests'; did you mean 'test'"):
        Digits().part("tests")  # type: ignore[arg-type]


def test_parts_of_the_digits_are_disjoint_and_complete(digits: dict[str, torch.Tensor]) -> None:
    assert {name: len(x) for name, x in digits.items()} == {"train": 1300, "validation": 137, "test": 360}
    parts = [as_set(x) for x in digits.values()]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 1797


def test_pixels_of_the_digits_are_scaled_and_their_mean_is_that_of_training(
    digits: dict[str, torch.Tensor],
) -> None:
    learned = torch.cat([digits["train"], digits["validation"]])
    assert learned.min() == 0
    assert learned.max() == 1
    assert Digits.mean[0] == pytest.approx(learned.mean().item(), abs=5e-5)
    assert Digits.std[0] == pytest.approx(learned.std().item(), abs=5e-5)


def test_the_seed_moves_validation_but_never_the_test_part(digits: dict[str, torch.Tensor]) -> None:
    assert torch.equal(pixels(Digits(), "validation"), digits["validation"])
    assert as_set(pixels(Digits(split_seed=1), "validation")) != as_set(digits["validation"])
    for other in (Digits(split_seed=1), Digits(train_images=10), Digits(validation_images=900)):
        assert torch.equal(pixels(other, "test"), digits["test"])


def test_every_class_has_its_share_of_every_part() -> None:
    for name, least, most in (("train", 126, 133), ("validation", 13, 15), ("test", 34, 38)):
        counts = Digits().part(name).labels.bincount()  # type: ignore[arg-type]
        assert least <= counts.min() <= counts.max() <= most


def test_fewer_training_images_are_the_first_of_more() -> None:
    few, more = pixels(Digits(train_images=50), "train"), pixels(Digits(train_images=200), "train")
    assert len(few) == 50
    assert torch.equal(few, more[:50])


def test_the_labels_fit_the_images(digits: dict[str, torch.Tensor]) -> None:
    """The nearest class mean of the training part is right far more often than by chance."""
    train, test = Digits().part("train"), Digits().part("test")
    means = torch.stack([digits["train"][train.labels == k].mean(0) for k in range(10)])
    guess = torch.cdist(digits["test"], means).argmin(1)
    assert (guess == test.labels).float().mean() > 0.8


def test_where_the_files_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPIKEPROOF_DATA", str(tmp_path / "everyone"))
    assert data_root(tmp_path / "mine") == tmp_path / "mine"
    assert data_root(None) == tmp_path / "everyone"
    with pytest.raises(UserError, match="everyone"):
        CIFAR10().part("train")
    monkeypatch.setenv("SPIKEPROOF_DATA", "")
    assert data_root(None) == Path("data")


@pytest.mark.parametrize("kind", [kind for kind in SETS if kind.downloads])
@pytest.mark.parametrize("name", ["train", "test"])
def test_a_missing_set_says_where_to_get_it(kind: type[DataSet], name: data.PartName, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        kind().part(name, tmp_path)
    message = str(caught.value)
    assert "is missing in" in message
    assert str(tmp_path) in message
    assert any(d.url in message and d.md5 in message for d in kind.downloads)


def test_missing_imagenet_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train is missing in .*image-net.org.*val/<wnid>/"):
        ImageNet().part("train", tmp_path)

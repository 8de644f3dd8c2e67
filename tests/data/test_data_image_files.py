"""Are Tiny-ImageNet and ImageNet read from their folders, decoded as usual, and refused when incomplete?"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikeproof.choices import UserError
from spikeproof.data import ImageNet, TinyImageNet
from spikeproof.data.crops import centre_crop, resize_shorter_side
from spikeproof.data.image_files import images_in_files

WNIDS = ("n01", "n02", "n03")


def save(path: Path, value: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(path, format="PNG")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of four training images (value 10 label + number) and two test images; the last is grey."""
    root = tmp_path / "tiny-imagenet-200"
    for label, wnid in enumerate(WNIDS):
        for number in range(4):
            save(root / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", 10 * label + number)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("passed over")
    save(root / "val" / "images" / "val_1.JPEG", 77)
    save(root / "val" / "images" / "val_0.JPEG", 88, mode="L")
    (root / "val" / "val_annotations.txt").write_text("val_1.JPEG\tn03\t0\t0\t9\t9\nval_0.JPEG\tn01\t0\t0\t9\t9\n")
    monkeypatch.setattr(TinyImageNet, "classes", ("class 0", "class 1", "class 2"))
    monkeypatch.setattr(TinyImageNet, "published_train", 12)
    monkeypatch.setattr(TinyImageNet, "published_test", 2)
    return tmp_path


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of two training images and one test image each, the files of the test in another order."""
    for label, wnid in enumerate(WNIDS):
        for number in range(2):
            save(tmp_path / "imagenet" / "train" / wnid / f"{number}.JPEG", 10 * label + number, (300, 260))
        save(tmp_path / "imagenet" / "val" / wnid / f"val_{9 - label}.JPEG", 100 + label, (260, 300))
    monkeypatch.setattr(ImageNet, "classes", ("class 0", "class 1", "class 2"))
    monkeypatch.setattr(ImageNet, "published_train", 6)
    monkeypatch.setattr(ImageNet, "published_test", 3)
    return tmp_path


def test_tiny_imagenet_splits_its_training_folders(tiny: Path) -> None:
    dataset = TinyImageNet(validation_images=3)
    train, validation = dataset.part("train", tiny), dataset.part("validation", tiny)
    assert (len(train), len(validation)) == (9, 3)
    assert train.classes == WNIDS
    assert sorted(validation.labels.tolist()) == [0, 1, 2]
    values = []
    for part in (train, validation):
        x, y = part.batch(range(len(part)))
        assert x.shape == (len(part), 3, 64, 64)
        red = (x[:, 0, 5, 5] * 255).round().long()
        assert torch.equal(red // 10, y)
        assert torch.equal((x[:, 2] * 255).round(), (255 - red)[:, None, None].expand(-1, 64, 64).float())
        values += red.tolist()
    assert sorted(values) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]


def test_tiny_imagenet_tests_on_its_annotated_images_in_their_order(tiny: Path) -> None:
    test = TinyImageNet(validation_images=3).part("test", tiny)
    x, y = test.batch([0, 1])
    assert y.tolist() == [2, 0]
    assert x.is_contiguous()
    assert (x[:, :, 9, 9] * 255).round().tolist() == [[77, 0, 178], [88, 88, 88]]
    assert test.batch([])[0].shape == (0, 3, 64, 64)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_7.JPEG\tn01", "line 2 of val_annotations.txt.*no image 'val_7.JPEG'"),
        ("val_0.JPEG\tn99", "line 2 of val_annotations.txt.*unknown class 'n99'"),
        ("val_0.JPEG", "line 2 of val_annotations.txt.*unknown class ''"),
    ],
)
def test_a_bad_annotation_is_refused_by_line(tiny: Path, line: str, message: str) -> None:
    (tiny / "tiny-imagenet-200/val/val_annotations.txt").write_text(f"val_1.JPEG\tn03\n{line}\n")
    with pytest.raises(UserError, match=message):
        TinyImageNet(validation_images=3).part("test", tiny)


def test_an_incomplete_copy_is_refused(tiny: Path) -> None:
    (tiny / "tiny-imagenet-200/train/n02/images/n02_1.JPEG").unlink()
    with pytest.raises(UserError, match="TinyImageNet has 12 published train images, but 11 are in"):
        TinyImageNet(validation_images=3).part("train", tiny)


def test_a_missing_class_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyImageNet, "classes", tuple("abcd"))
    with pytest.raises(UserError, match="train holds 3 folders; there must be 4, one a class"):
        TinyImageNet(validation_images=3).part("train", tiny)


def test_a_class_without_its_folder_of_images_is_refused(tiny: Path) -> None:
    (tiny / "tiny-imagenet-200/train/n02/images").rename(tiny / "elsewhere")
    with pytest.raises(UserError, match=r"folder n02/images of a class is missing in .*train"):
        TinyImageNet(validation_images=3).part("train", tiny)


def test_missing_annotations_are_named(tiny: Path) -> None:
    (tiny / "tiny-imagenet-200/val/val_annotations.txt").unlink()
    with pytest.raises(
        UserError, match=r"val_annotations\.txt is missing in .*val; .*90528d7ca1a48142e341f4ef8d21d0de"
    ):
        TinyImageNet(validation_images=3).part("test", tiny)


def test_a_broken_image_is_named_when_it_is_decoded(tiny: Path) -> None:
    test = TinyImageNet(validation_images=3).part("test", tiny)
    broken = tiny / "tiny-imagenet-200/val/images/val_0.JPEG"
    for content in (b"no image", broken.read_bytes()[:60]):
        broken.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot decode the image val_0\.JPEG in "):
            test.batch([0, 1])


def test_an_image_of_another_size_is_named(tiny: Path) -> None:
    test = TinyImageNet(validation_images=3).part("test", tiny)
    save(tiny / "tiny-imagenet-200/val/images/val_0.JPEG", 3, (64, 63))
    with pytest.raises(UserError, match=r"val_0\.JPEG in .* must have 64 pixels a side, not \(64, 63\)"):
        test.batch([1])


def test_imagenet_is_resized_and_cropped(imagenet: Path) -> None:
    dataset = ImageNet(validation_images=3)
    train, test = dataset.part("train", imagenet), dataset.part("test", imagenet)
    assert len(train) == 3
    assert train.classes == WNIDS
    x, y = train.batch(range(3))
    assert x.shape == (3, 3, 224, 224)
    assert torch.equal((x[:, 0, 9, 9] * 255).round().long() // 10, y)
    assert test.labels.tolist() == [2, 1, 0], "the order of the file names, in which classes are mixed"
    assert (test.batch(range(3))[0][:, 0, 0, 0] * 255).round().tolist() == [102, 101, 100]


def test_imagenet_needs_the_training_images_for_training_only(imagenet: Path) -> None:
    (imagenet / "imagenet" / "train").rename(imagenet / "elsewhere")
    assert len(ImageNet(validation_images=3).part("test", imagenet)) == 3
    with pytest.raises(UserError, match=r"train is missing in .*image-net.org"):
        ImageNet(validation_images=3).part("train", imagenet)


def test_the_shorter_side_is_resized_and_the_centre_kept(tmp_path: Path) -> None:
    tall, wide = Image.new("RGB", (100, 151)), Image.new("RGB", (333, 100))
    assert resize_shorter_side(tall, 256).size == (256, 386)
    assert resize_shorter_side(wide, 256).size == (852, 256)
    assert resize_shorter_side(Image.new("RGB", (9, 9)), 256).size == (256, 256)
    # Columns 0, 1, 2 ... hold their own number, so a crop says where it began.
    ramp = Image.fromarray(np.tile(np.arange(250, dtype=np.uint8), (240, 1)))
    cropped = np.asarray(centre_crop(ramp, 224))
    assert cropped.shape == (224, 224)
    assert cropped[0, 0] == 13


def test_decoding_equals_pillow(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    images = images_in_files(tmp_path, [("a.png", 0)], ("a",), size=16, resize=20)
    expected = Image.fromarray(noise).resize((30, 20), Image.Resampling.BILINEAR).crop((7, 2, 23, 18))
    x, _ = images.batch([0])
    assert torch.equal((x[0] * 255).round().to(torch.uint8), torch.from_numpy(np.array(expected)).permute(2, 0, 1))

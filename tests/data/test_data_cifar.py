"""Is a CIFAR pickle read as written, and never opened unless it is the published one?"""

import pickle
from pathlib import Path

import numpy as np
import pytest

from spikeproof.choices import UserError
from spikeproof.data import CIFAR10, CIFAR100
from spikeproof.data.cifar import parse_pickle
from spikeproof.data.published_files import md5_of

RED_GREEN_BLUE = np.repeat(np.array([200, 100, 50], dtype=np.uint8), 1024)


class Trap:
    """A pickle that makes the file `path` when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_pixels_and_labels_are_read_as_written() -> None:
    data = np.stack([RED_GREEN_BLUE, np.arange(3072).astype(np.uint8)])
    content = pickle.dumps({"data": data, "fine_labels": [7, 42], "coarse_labels": [1, 2]}, protocol=2)
    pixels, labels = parse_pickle(content, "fine_labels")
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == np.uint8
    assert (pixels[0] == np.array([200, 100, 50])[:, None, None]).all()
    assert pixels[1, 2, 3, 4] == (2 * 1024 + 3 * 32 + 4) % 256
    assert labels.dtype == np.int64
    assert labels.tolist() == [7, 42]


def test_a_pickle_written_by_python_2_is_read() -> None:
    """The published files are such: byte strings, numpy.core, and a dtype whose flags are integers."""
    content = (
        b"\x80\x02}q\x01(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
        + RED_GREEN_BLUE.tobytes()
        + b"tbU\x06labels]K\x09au."
    )
    pixels, labels = parse_pickle(content, "labels")
    assert np.array_equal(pixels.reshape(-1), RED_GREEN_BLUE)
    assert labels.tolist() == [9]


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    with pytest.raises(UserError, match=r"not a CIFAR file: it asks for .*, where only numpy arrays belong"):
        parse_pickle(pickle.dumps({"data": Trap(trap), "labels": []}, protocol=2), "labels")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("kind", "folder", "file"), [(CIFAR10, "cifar-10-batches-py", "test_batch"), (CIFAR100, "cifar-100-python", "test")]
)
def test_an_altered_file_is_refused_before_it_is_unpickled(
    kind: type[CIFAR10] | type[CIFAR100],
    folder: str,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("unpickled before its md5 was checked")

    monkeypatch.setattr("spikeproof.data.cifar.parse_pickle", opened)
    content = pickle.dumps({"data": RED_GREEN_BLUE[None], "labels": [1]}, protocol=2)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_bytes(content)
    with pytest.raises(UserError, match=f"{file} in .*{folder} is damaged or altered: it has md5 {md5_of(content)}"):
        kind().part("test", tmp_path)


def test_one_missing_batch_is_named(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(UserError, match=r"data_batch_1 is missing in .*cifar-10-batches-py; .*cifar-10-python.tar.gz"):
        CIFAR10().part("train", tmp_path)


def test_the_hundred_classes_are_in_alphabetical_order_as_their_labels_are() -> None:
    assert list(CIFAR100.classes) == sorted(CIFAR100.classes)
    assert CIFAR100.classes[0] == "apple"
    assert CIFAR100.classes[99] == "worm"

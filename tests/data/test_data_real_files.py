"""Are the published files read as their publishers describe them? Needs them in $SPIKEPROOF_DATA."""

import os
from pathlib import Path

import pytest
import torch

from spikeproof.choices import UserError
from spikeproof.data import CIFAR10, CIFAR100, MNIST, DataSet, FashionMNIST, TinyImageNet

FACTS = [
    (MNIST, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], 7),
    (FashionMNIST, [1000] * 10, 9),
    (CIFAR10, [1000] * 10, 3),
    (CIFAR100, [100] * 100, 49),
    (TinyImageNet, [50] * 200, None),
]


def needs(kind: type[DataSet]) -> Path:
    root = Path(os.environ.get("SPIKEPROOF_DATA") or "nowhere")
    if not all((root / download.path).exists() for download in kind.downloads):
        pytest.skip(f"{kind.__name__} is not in $SPIKEPROOF_DATA")
    return root


@pytest.mark.parametrize(("kind", "counts", "first_label"), FACTS)
def test_the_test_part_is_the_published_one(kind: type[DataSet], counts: list[int], first_label: int | None) -> None:
    test = kind().part("test", needs(kind))
    assert len(test) == kind.published_test == 10_000
    assert test.labels.bincount().tolist() == counts
    assert first_label in (None, test.labels[0].item())
    x, _ = test.batch(range(64))
    assert x.shape == (64, *kind.shape)
    assert x.min() == 0
    assert x.max() == 1


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, CIFAR10, CIFAR100])
def test_training_and_validation_share_the_published_training_set(kind: type[DataSet]) -> None:
    root = needs(kind)
    train, validation = kind().part("train", root), kind().part("validation", root)
    assert len(train) + len(validation) == kind.published_train
    assert len(set(train.rows.tolist()) | set(validation.rows.tolist())) == kind.published_train
    share = validation.labels.bincount() / train.labels.bincount()
    assert (share - len(validation) / len(train)).abs().max() < 0.002
    x, _ = train.batch(range(5000))
    assert torch.allclose(x.mean((0, 2, 3)), torch.tensor(kind.mean), atol=0.01)


@pytest.mark.parametrize("kind", [FashionMNIST, CIFAR10, CIFAR100])
def test_validation_is_balanced_where_training_is(kind: type[DataSet]) -> None:
    counts = kind().part("validation", needs(kind)).labels.bincount()
    assert counts.tolist() == [5000 // len(kind.classes)] * len(kind.classes)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    content = bytearray((needs(CIFAR10) / "cifar-10-batches-py" / "test_batch").read_bytes())
    content[1_000_000] ^= 1
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(UserError, match=r"test_batch in .* is damaged or altered.*40351d587109b95175f43aff81a1287e"):
        CIFAR10().part("test", tmp_path)

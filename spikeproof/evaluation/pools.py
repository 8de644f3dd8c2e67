"""Which images are looked at? The first of a part of a data set, or of any images."""

from collections.abc import Sized
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from spikeproof.choices import UserError
from spikeproof.data import DataSet, Images, PartName
from spikeproof.evaluation.predictions import Given


def part_of(data: DataSet, part: PartName, images: int | None, data_root: str | Path | None = None) -> Images:
    """The first `images` of that part (None: all); raises `UserError` where there are fewer."""
    found = data.part(part, data_root)
    return found if images is None else found.first(_at_most(images, found, f"the {part} part has"))


def pool_of(data: DataSet | Images | tuple[Tensor, Tensor], part: PartName, images: int | None) -> Images | Given:
    """The first `images` of anything (None: all): of a data set those of `part`."""
    if isinstance(data, DataSet):
        return part_of(data, part, images)
    if isinstance(data, Images):
        return data if images is None else data.first(_at_most(images, data, "there are"))
    if isinstance(data, TensorDataset):
        data = data.tensors
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UserError(
            f"data are a data set, a part of one, or a pair (images, labels), not {_kind_of(data)}{_pair_of(data)}"
        )
    x, y = data
    if images is None or not all(isinstance(each, Tensor) and each.ndim for each in data):
        return Given(x, y)
    count = _at_most(images, x, "there are")
    return Given(x[:count], y[:count])


def _at_most(images: int, found: Sized, what: str) -> int:
    if images > len(found):
        raise UserError(f"{what} {len(found)} images: take 1 to {len(found)}, not {images}")
    return images


def _kind_of(data: object) -> str:
    return f"{len(data)} things" if isinstance(data, tuple | list) else f"a {type(data).__name__}"


def _pair_of(data: object) -> str:
    """How torch's own kinds of data become a pair."""
    if isinstance(data, DataLoader):
        return ": x, y = map(torch.cat, zip(*loader)) makes one of it (without shuffle)"
    if isinstance(data, TorchDataset):
        return ": x, y = default_collate([data[i] for i in range(len(data))]) makes one of it"
    return ""

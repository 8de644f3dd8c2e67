"""Which images are looked at? The first of a part of a data set, or of any images."""

from collections.abc import Sized
from pathlib import Path
from typing import Any

from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.data import DataSet, Images, PartName
from spikeproof.evaluation.handed_in import pair_of
from spikeproof.evaluation.predictions import Given


def part_of(data: DataSet, part: PartName, images: int | None, data_root: str | Path | None = None) -> Images:
    """The first `images` of that part (None: all); raises `UserError` where there are fewer."""
    found = data.part(part, data_root)
    return found if images is None else found.first(_at_most(images, found, f"the {part} part has"))


def pool_of(data: Any, part: PartName, images: int | None) -> Images | Given:
    """The first `images` of anything (None: all): of a data set those of `part`, else of what `pair_of` takes."""
    if isinstance(data, DataSet):
        return part_of(data, part, images)
    if isinstance(data, Images):
        return data if images is None else data.first(_at_most(images, data, "there are"))
    x, y = pair_of(data)
    if images is None or not all(isinstance(each, Tensor) and each.ndim for each in (x, y)):
        return Given(x, y)
    count = _at_most(images, x, "there are")
    return Given(x[:count], y[:count])


def _at_most(images: int, found: Sized, what: str) -> int:
    if images > len(found):
        raise UserError(f"{what} {len(found)} images: take 1 to {len(found)}, not {images}")
    return images

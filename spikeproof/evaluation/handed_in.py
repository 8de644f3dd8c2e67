"""What may be handed in as images with labels? Tensors, arrays, lists, loaders: all become a pair of tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from spikeproof.choices import UserError

AT_ONCE = 256  # items of a torch data set


def pair_of(data: Any) -> tuple[Any, Any]:
    """Images and labels ``(x [N, ...], y [N])`` of a pair of tensors, arrays or lists, of a loader or a torch data set.

    Arrays and lists become tensors, labels of any whole numbers int64. What cannot be is left for `check_input` and
    `check_labels` to name. Raises `UserError` for anything else, and for a loader that shuffles: images are known by
    their place.
    """
    if isinstance(data, TensorDataset):
        data = data.tensors
    elif isinstance(data, DataLoader):
        if isinstance(data.sampler, RandomSampler):
            raise UserError("the loader shuffles, and images are known by their place: give one with shuffle=False")
        data = _joined(data)
    elif isinstance(data, TorchDataset):
        data = _joined(DataLoader(data, batch_size=AT_ONCE))
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UserError(f"data are a data set, a part of one, or a pair (images, labels), not {_kind_of(data)}")
    return _tensor(data[0]), _labels(_tensor(data[1]))


def _joined(loader: "DataLoader[Any]") -> tuple[Tensor, Tensor]:
    batches = list(loader)
    if not batches:
        raise UserError("the loader gives no images")
    if not all(isinstance(batch, tuple | list) and len(batch) == 2 for batch in batches):
        raise UserError(f"a loader gives pairs (images, labels), not {_kind_of(batches[0])}")
    x, y = zip(*batches, strict=True)
    return torch.cat(x), torch.cat(y)


def _tensor(given: Any) -> Any:
    """A tensor of an array or a list, where one can be made."""
    if isinstance(given, list) and given and all(isinstance(each, Tensor) for each in given):
        return torch.stack(given) if len({each.shape for each in given}) == 1 else given
    if isinstance(given, np.ndarray | list):
        try:
            return torch.from_numpy(np.ascontiguousarray(given))
        except (TypeError, ValueError):  # of texts, or of rows of several lengths
            return given
    return given


def _labels(y: Any) -> Any:
    whole = isinstance(y, Tensor) and not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    return y.long() if whole else y


def _kind_of(data: object) -> str:
    return f"{len(data)} things" if isinstance(data, tuple | list) else f"a {type(data).__name__}"

"""What does a model answer, for images given as tensors or read batch by batch?"""

from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn

from spikeproof.attacks.inputs import check_input, laid_out
from spikeproof.calling import check_labels, check_targets, device_of, is_stochastic, predict
from spikeproof.choices import UserError
from spikeproof.distributed import ALONE, Ranks
from spikeproof.randomness import seed_from


class Pool(Protocol):
    """Labelled images, taken out by index; a data set's `Images` is one."""

    @property
    def labels(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor, /) -> tuple[Tensor, Tensor]: ...


class Given:
    """A pool of images that are tensors already."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        check_input(x)
        check_labels(y, x)
        self.x, self.labels = laid_out(x), laid_out(y)

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, /) -> tuple[Tensor, Tensor]:
        return self.x[indices], self.labels[indices]


def predictions(
    model: nn.Module, pool: Pool, batch: int, draws: int, vote: bool, seed: int, ranks: Ranks = ALONE
) -> Tensor:
    """What `predict` gives for the whole pool ``[N, K]``; refuses images, labels and outputs that cannot be."""
    if not len(pool):
        raise UserError("there are no images: nothing can be evaluated")
    parts = []
    for indices in ranks.dealt(torch.arange(len(pool)), batch, whole=bool(is_stochastic(model))):
        x, y = pool.batch(indices)
        check_input(x)
        logits = predict(model, x, draws=draws, vote=vote, seed=seed_from(seed, int(indices[0])))
        check_classes(logits, pool)
        check_targets(y, x, logits.shape[1])
        parts.append((indices, logits))
    order, logits = map(torch.cat, zip(*chain.from_iterable(ranks.gather(parts)), strict=True))
    return logits[order.argsort()]


def check_classes(logits: Tensor, data: object) -> None:
    """Refuse logits ``[B, K]`` that are for other classes than `data`, a data set or part of one, has."""
    known = getattr(data, "classes", None)
    if known is not None and logits.shape[1] != len(known):
        raise UserError(f"the model tells {logits.shape[1]} classes apart, and the data set has {len(known)}")


def taken(model: nn.Module, pool: Pool, indices: Tensor) -> tuple[Tensor, Tensor]:
    """The images and labels of these numbers in the pool, on the model's device; refuses images that cannot be."""
    x, y = pool.batch(indices)
    check_input(x)
    return x.to(device_of(model)), y.to(device_of(model))

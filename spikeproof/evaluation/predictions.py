"""What does a model answer, for images given as tensors or read batch by batch?"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks.inputs import check_input
from spikeproof.calling import as_evaluated, check_logits, check_targets, check_unwritten
from spikeproof.randomness import seed_from, seeded
from spikeproof.specs import UserError


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
        check_targets(y, x)
        self.x, self.labels = x, y

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, /) -> tuple[Tensor, Tensor]:
        return self.x[indices], self.labels[indices]


def predict(
    model: nn.Module, x: Tensor, *, batch: int = 256, draws: int = 1, vote: bool = False, seed: int = 0
) -> Tensor:
    """Mean logits ``[N, K]`` of `draws` passes in eval mode; `x` may lie on another device than the model.

    With `vote`, the share of passes that name each class, ties broken by the mean probabilities.
    """
    device = device_of(model)
    with torch.no_grad(), as_evaluated(model), seeded(seed, device):
        parts = []
        for chunk in x.split(batch):
            passes = torch.stack([checked_logits(model, chunk.to(device)) for _ in range(draws)])
            parts.append((_votes(passes) if vote else passes.mean(0)).float().cpu())
    return torch.cat(parts)


def _votes(passes: Tensor) -> Tensor:
    """Shares ``[B, K]`` of passes ``[D, B, K]``; the mean probabilities add less than half a vote."""
    named = F.one_hot(passes.argmax(2), passes.shape[2]).to(passes.dtype)
    return named.mean(0) + passes.softmax(2).mean(0) / (2 * len(passes))


def checked_logits(model: nn.Module, x: Tensor) -> Tensor:
    """One pass; refuses what is no logits ``[B, K]``, and a model that writes into its input."""
    given = x.clone()
    logits = model(given)
    check_unwritten(given, x)
    check_logits(logits, x)
    return logits


def predictions(model: nn.Module, pool: Pool, batch: int, draws: int, vote: bool, seed: int) -> Tensor:
    """What `predict` gives for the whole pool ``[N, K]``; refuses images, labels and outputs that cannot be."""
    parts = []
    for who in torch.arange(len(pool)).split(batch):
        x, y = pool.batch(who)
        check_input(x)
        parts.append(predict(model, x, batch=batch, draws=draws, vote=vote, seed=seed_from(seed, int(who[0]))))
        check_classes(parts[-1], pool)
        check_targets(y, x, parts[-1].shape[1])
    return torch.cat(parts)


def check_classes(logits: Tensor, data: object) -> None:
    """Refuse logits ``[B, K]`` that are for other classes than `data`, a data set or part of one, has."""
    known = getattr(data, "classes", None)
    if known is not None and logits.shape[1] != len(known):
        raise UserError(f"the model tells {logits.shape[1]} classes apart, and the data set has {len(known)}")


def taken(model: nn.Module, pool: Pool, who: Tensor) -> tuple[Tensor, Tensor]:
    """The images and labels at the places `who` in the pool, on the model's device; refuses images that cannot be."""
    x, y = pool.batch(who)
    check_input(x)
    return x.to(device_of(model)), y.to(device_of(model))


def device_of(model: nn.Module) -> torch.device:
    tensor = next((t for t in (*model.parameters(), *model.buffers())), None)
    return tensor.device if tensor is not None else torch.device("cpu")

"""What does a gradient path remember of an image from one gradient to the next? Rows that the caller keeps.

    recall(model, memory)       # None before the first gradient
    model(x)                    # a gradient call: its images are the rows of `memory`
    memory = remembered(model)  # what that call made of it

A view itself remembers nothing: without a `recall` before it, a gradient call starts from nothing and leaves nothing.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikeproof.snn.gradients import GradientPath

__all__ = ["Memory", "recall", "remembered"]

Memory = tuple[Tensor, ...]
"""Tensors ``[B, ...]``, one row an image. A row of zeros remembers nothing yet: an image's first row."""


def recall(model: nn.Module, memory: Memory | None, *, learn: bool = True) -> None:
    """The next gradient call of the view `model` starts from `memory`, whose rows are that call's images.

    With `learn` off the call uses the memory as it is. So do the second and later draws of one gradient: recall for
    them what the first draw remembered. A call without gradients neither uses nor changes anything.
    """
    call, paths = Recollection(memory, learn), list(_remembering(model))
    for path in paths:
        path.recollection.close()
        path.recollection = call
    if paths:
        call.until = model.register_forward_hook(_end)


def remembered(model: nn.Module) -> Memory:
    """What the gradient call after the last `recall` made of its memory, always in the same order.

    Empty for a model whose paths remember nothing, and for a view that was never told to recall.
    """
    return next((tuple(path.recollection.after) for path in _remembering(model)), ())


class Recollection:
    """The memory of one gradient call, shared by all paths of a view: each takes its rows in the order of the calls."""

    def __init__(self, memory: Memory | None = None, learn: bool = True) -> None:
        self.before = memory or ()
        self.after: list[Tensor] = []
        self.learn = learn
        self.until: RemovableHandle | None = None  # the hook that closes it, while it is open

    @property
    def open(self) -> bool:
        """Whether the call is still to come, or under way."""
        return self.until is not None

    def close(self) -> None:
        """Later calls start from nothing."""
        if self.until is not None:
            self.until.remove()
            self.until = None

    def take(self, like: Tensor, count: int) -> tuple[Tensor, ...]:
        """The next `count` tensors of the memory, each shaped as `like` ``[B, ...]``; zeros where there are none."""
        start = len(self.after)
        rows = self.before[start : start + count] if self.open else ()
        known = len(rows) == count and all(each.shape == like.shape for each in rows)
        return rows if known else tuple(torch.zeros_like(like) for _ in range(count))

    def keep(self, *rows: Tensor) -> None:
        """These are the tensors that were taken last, as the call leaves them."""
        if self.open:
            self.after += rows


class Remembering(GradientPath):
    """A path, in one layer of a view, that takes its memory from a `Recollection` and keeps what it learns there."""

    recollection = Recollection()  # closed: of a path that was never told to recall


def _end(model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    """Close what a gradient call of `model` was told to recall."""
    if not torch.is_grad_enabled():
        return
    call, images = next(_remembering(model)).recollection, len(inputs[0])
    # where a neuron's rows are no images, but time steps for example, nothing is kept
    call.after = [rows if len(rows) == images else rows.new_zeros(images, 0) for rows in call.after]
    call.close()


def _remembering(model: nn.Module) -> Iterator[Remembering]:
    for module in model.modules():
        for follower in (module, getattr(module, "readout", None)):
            path = getattr(follower, "gradient", None)
            if isinstance(path, GradientPath):
                yield from (part for part in path.parts() if isinstance(part, Remembering))

"""What may an attack ask, and about which images? The model's gradients and answers, counted image by image."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn

from spikeproof.attacks.losses import labels_of
from spikeproof.attacks.threats import Threat
from spikeproof.calling import answer_of, check_logits, check_targets, check_unwritten, mean_of
from spikeproof.randomness import Streams

EMPTY = -1  # the place of a row that holds no image
TOGETHER = 256  # images in one pass without gradients, where fewer are attacked side by side

Rows = TypeVar("Rows", bound=tuple[Any, ...])


class Memory(NamedTuple):
    """How what a gradient path remembers of images, tensors with a row an image, is given to a view and taken back."""

    recall: Callable[..., None]  # of a model, its memory or None, and whether it may learn
    remembered: Callable[[nn.Module], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Task:
    """Images `x` ``[B, C, H, W]`` to attack, their targets `y`, and the streams of their random numbers.

    `stop`: a broken image needs no more. At most `width` images (None: all) are attacked side by side. `watch`, if
    given, is called after each step with what tells the share [0, 1] of all steps that is done.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    threat: Threat
    streams: Streams
    stop: bool
    width: int | None = None
    memory: Memory | None = None
    watch: Callable[[Callable[[], float]], None] | None = None

    def of(self, rows: Tensor) -> Self:
        """The task of some of the images."""
        return replace(self, x=self.x[rows], y=self.y[rows], streams=Streams(self.streams.key[rows]))

    def turned(self, number: int) -> Self:
        """The same task with other random numbers: those of turn `number`."""
        return replace(self, streams=self.streams.turn(number))


class Answer(NamedTuple):
    """Per image: the loss, and whether the prediction is wrong ``[b]``."""

    loss: Tensor
    broken: Tensor

    @staticmethod
    def of(logits: Tensor, y: Tensor, loss: Tensor) -> "Answer":
        return Answer(loss, logits.argmax(1) != labels_of(y))

    def beats(self, other: "Answer") -> Tensor:
        """Where it is the better one ``[b]``: a mistake before none, then the larger loss."""
        return (self.broken & ~other.broken) | ((self.broken == other.broken) & (self.loss > other.loss))


def best_of(z: Tensor, answer: Answer, many: int) -> tuple[Tensor, Answer]:
    """Of each image's `many` candidates ``[b * many, ...]`` a broken one, or that with the largest loss; its answer."""
    best = answer.loss.masked_fill(answer.broken, torch.inf).view(-1, many).argmax(1)
    chosen = best + torch.arange(len(best), device=z.device) * many
    return z[chosen], Answer(*(part[chosen] for part in answer))


class Slots(NamedTuple):
    """What is known of the images under attack, one row each.

    `place` is the row in the task, `key` that of the random numbers. `number` is that of the step, from 1 on, in this
    `leg`, a run from a start of its own. `found` is the best image so far: a broken one before an unbroken one, then
    the larger loss. `first` are the logits ``[B, K]`` of the image itself, where the attack looks there first.
    """

    place: Tensor
    x: Tensor
    y: Tensor
    key: Tensor
    leg: Tensor
    number: Tensor
    gradients: Tensor
    forwards: Tensor
    found: Tensor
    loss: Tensor
    broken: Tensor
    finished: Tensor
    first: Tensor
    memory: tuple[Tensor, ...]

    @staticmethod
    def of(task: Task, index: Tensor) -> "Slots":
        x, none = task.x[index], torch.zeros_like(index)
        lowest = x.new_full((len(x),), -torch.inf)
        no, first = none.bool(), x.new_zeros(len(x), 0)
        key, y = task.streams.key[index], task.y[index]
        return Slots(index, x, y, key, none, none, none.clone(), none.clone(), x.clone(), lowest, no, no, first, ())

    @property
    def empty(self) -> Tensor:
        """Which rows hold no image ``[B]``: they fill up the batch."""
        return self.place == EMPTY

    def again(self) -> "Slots":
        """The same images at the start of their next leg."""
        nothing = tuple(map(torch.zeros_like, self.memory))
        return self._replace(leg=self.leg + 1, number=torch.zeros_like(self.number), memory=nothing)


class Query:
    """The model as an attack sees it, and the images under attack, `slots`. Every answer is counted.

    Images that are looked at are candidates for the best one, where `keeps` is set. `eot` passes are averaged in each
    answer, for models that draw noise.
    """

    def __init__(self, task: Task, slots: Slots, eot: int, keeps: bool = True) -> None:
        self.task = task
        self.slots = slots
        self.eot = eot
        self.keeps = keeps
        self.checked = False
        self.asked: Tensor | None = None  # the losses of the last answer

    @staticmethod
    def over(task: Task, eot: int) -> "Query":
        """A query about all images of `task`."""
        return Query(task, Slots.of(task, torch.arange(len(task.x), device=task.x.device)), eot)

    @property
    def model(self) -> nn.Module:
        return self.task.model

    @property
    def threat(self) -> Threat:
        return self.task.threat

    @property
    def x(self) -> Tensor:
        return self.slots.x

    @property
    def y(self) -> Tensor:
        return self.slots.y

    @property
    def count(self) -> Tensor:
        """The number of this step, from 1 on ``[B]``; 0 before the first."""
        return self.slots.number

    @property
    def streams(self) -> Streams:
        """The random numbers of this step, the same each time that they are asked for."""
        return Streams(self.slots.key).at((self.slots.leg << 32) + self.slots.number)

    def gradient(
        self,
        z: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        y: Tensor | None = None,
        rows: Tensor | None = None,
        offer: bool = True,
    ) -> tuple[Tensor, Answer]:
        """The gradient of `loss` at `z`, and the answer there, both means over `eot` passes.

        `z`, and `y` where it is given, are those of all images or of the `rows` named. A gradient that is not finite
        counts as 0. With `offer`, `z` is a candidate for the best image.
        """
        y = self._targets(rows) if y is None else y
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._passes(z, y) if self.task.memory is None else self._recalling(z, y, rows)
            value = loss(logits, y)
            slope = torch.zeros_like(z)  # what stays where the model cuts the graph
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value.sum(), z, materialize_grads=True)
        answer = Answer.of(logits.detach(), y, value.detach())
        self.asked = answer.loss
        self._count(rows, gradients=self.eot, forwards=self.eot)
        if offer:
            self.offer(z, answer, rows)
        return slope.nan_to_num(0, 0, 0), answer

    def answer(
        self,
        z: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        y: Tensor | None = None,
        rows: Tensor | None = None,
        offer: bool = True,
    ) -> Answer:
        """Loss and verdict at `z`, without a gradient; the same arguments as `gradient` takes."""
        y = self._targets(rows) if y is None else y
        logits = self.logits(z, y=y, rows=rows)
        answer = Answer.of(logits, y, loss(logits, y))
        self.asked = answer.loss
        if offer:
            self.offer(z, answer, rows)
        return answer

    def logits(self, z: Tensor, *, y: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """Mean logits ``[b, K]`` at `z`. A row may be named many times: each counts."""
        y = self._targets(rows) if y is None else y
        most = max(self.task.width or len(z), TOGETHER)
        with torch.no_grad():
            if len(z) <= most:
                found = self._passes(z, y)
            else:
                found = torch.cat([self._passes(*part) for part in zip(z.split(most), y.split(most), strict=True)])
        self._count(rows, gradients=0, forwards=self.eot)
        return found

    def offer(self, z: Tensor, answer: Answer, rows: Tensor | None = None) -> None:
        """Keep `z` where it is better than the best image so far; each row is named once."""
        if not self.keeps:
            return
        s = self.slots
        found, loss, broken = (t if rows is None else t[rows] for t in (s.found, s.loss, s.broken))
        better = answer.beats(Answer(loss, broken))
        found = torch.where(per_image(better, z), z.detach(), found)
        loss = torch.where(better, answer.loss.to(loss.dtype), loss)
        broken = torch.where(better, answer.broken, broken)
        if rows is not None:
            found, loss, broken = (
                old.index_put((rows,), new) for old, new in ((s.found, found), (s.loss, loss), (s.broken, broken))
            )
        self.slots = s._replace(found=found, loss=loss, broken=broken)

    def keep_best(self, found: Tensor, loss: Tensor, broken: Tensor) -> None:
        """These are the best images so far: the attack has compared them by itself."""
        self.slots = self.slots._replace(found=found, loss=loss, broken=broken)

    def finish(self, mask: Tensor) -> None:
        """Nothing more is to be done for these images ``[B]``."""
        self.slots = self.slots._replace(finished=self.slots.finished | mask)

    def left(self) -> Tensor:
        """The rows that are still to be attacked: all, or, where a break ends it, those without one."""
        rows = torch.arange(len(self.x), device=self.x.device)
        return rows[~self.slots.broken] if self.task.stop else rows

    def spend(self, gradients: Tensor, forwards: Tensor, rows: Tensor) -> None:
        """Count what was spent elsewhere on these rows."""
        self.slots.gradients.index_add_(0, rows, gradients)
        self.slots.forwards.index_add_(0, rows, forwards)

    def _targets(self, rows: Tensor | None) -> Tensor:
        return self.y if rows is None else self.y[rows]

    def _count(self, rows: Tensor | None, *, gradients: int, forwards: int) -> None:
        for spent, more in ((self.slots.gradients, gradients), (self.slots.forwards, forwards)):
            if not more:
                continue
            if rows is None:
                spent += more
            else:
                spent.index_add_(0, rows, torch.full_like(rows, more))

    def _passes(self, z: Tensor, y: Tensor, draws: int | None = None) -> Tensor:
        """Mean logits ``[b, K]``, checked once."""
        given = z if self.checked else z.clone()
        ask = self.model if self.checked else partial(answer_of, self.model)
        passes = [ask(given) for _ in range(draws or self.eot)]
        logits = mean_of(passes)
        if not self.checked:
            check_unwritten(given, z)
            check_logits(logits, z)
            check_targets(y, z, logits.shape[1])
            self.checked = True
        return logits.to(z.dtype)  # of 16 bits, as autocast gives them, a loss would rank images wrongly

    def _recalling(self, z: Tensor, y: Tensor, rows: Tensor | None) -> Tensor:
        """`_passes` of a view that remembers: what it learns of the rows in the first pass holds for all."""
        assert self.task.memory is not None
        recall, remembered = self.task.memory
        before = self.slots.memory if rows is None else taken(self.slots.memory, rows)
        recall(self.model, before or None)
        passes = [self._passes(z, y, draws=1)]
        memory = remembered(self.model)
        for _ in range(self.eot - 1):
            recall(self.model, memory, learn=False)
            passes.append(self._passes(z, y, draws=1))
        self._remember(memory, rows)
        return mean_of(passes)

    def _remember(self, memory: tuple[Tensor, ...], rows: Tensor | None) -> None:
        if rows is not None:
            all_rows = self.slots.memory or tuple(m.new_zeros(len(self.x), *m.shape[1:]) for m in memory)
            memory = tuple(old.index_put((rows,), new) for old, new in zip(all_rows, memory, strict=True))
        self.slots = self.slots._replace(memory=memory)


def per_image(values: Tensor, x: Tensor) -> Tensor:
    """Values ``[..., B]`` in the shape that multiplies images like `x` ``[B, C, H, W]``."""
    return values.view(*values.shape, *[1] * (x.ndim - 1))


def taken(record: Rows, rows: Tensor) -> Rows:
    """Some rows of all tensors of a (nested) named tuple."""
    return _rebuilt(record, [taken(part, rows) if isinstance(part, tuple) else part[rows] for part in record])


def kept(mask: Tensor, old: Rows, new: Rows) -> Rows:
    """The rows of `old` where `mask` ``[B]``, those of `new` elsewhere, of (nested) named tuples."""
    parts = zip(old, new, strict=True)
    return _rebuilt(
        old,
        [
            kept(mask, a, b) if isinstance(a, tuple) else torch.where(per_image(mask, a), a, b).to(a.dtype)
            for a, b in parts
        ],
    )


def joined(first: Rows, second: Rows) -> Rows:
    """The rows of two (nested) named tuples, one after the other; a part that one does not have yet is 0 there."""
    return _rebuilt(
        first,
        [
            joined(*_filled(one, other, first, second)) if isinstance(one, tuple) else torch.cat([one, other])
            for one, other in zip(first, second, strict=True)
        ],
    )


def _filled(one: tuple[Any, ...], other: tuple[Any, ...], first: Any, second: Any) -> tuple[Any, Any]:
    count = [len(next(part for part in record if isinstance(part, Tensor))) for record in (first, second)]
    if not one:
        one = tuple(part.new_zeros(count[0], *part.shape[1:]) for part in other)
    if not other:
        other = tuple(part.new_zeros(count[1], *part.shape[1:]) for part in one)
    return one, other


def _rebuilt(record: Rows, parts: list[Any]) -> Rows:
    kind = type(record)
    return kind(*parts) if hasattr(kind, "_fields") else tuple(parts)  # type: ignore[return-value]

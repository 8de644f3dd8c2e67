"""What is an attack? A choice that, given a model, images and a threat, searches for allowed images that break it.

The model is any module from images in [0, 1] to logits. An attack leaves it as it found it - weights, mode,
gradients - and the random state too: the same seed gives the same result wherever it is called.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from spikeproof.attacks.losses import AttackLoss, labels_of
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Choice, UserError, short
from spikeproof.randomness import seeded


@dataclass(frozen=True)
class Outcome:
    """What an attack found ``[B, C, H, W]``, and what it cost: evaluations per image ``[B]``."""

    x: Tensor
    gradients: Tensor
    forwards: Tensor


class Attack(Choice):
    """Searches for allowed images that a model gets wrong; called with ``(model, x, y, threat)``.

    `search` is the attack itself; `run`, round it, checks the input and guards the model and the random state. `under`
    are the kinds of threat that it knows: those on "images", on "frames", ...
    """

    under: ClassVar[tuple[str, ...]] = ("images",)

    @abstractmethod
    def search(self, query: "Query", x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Perturbed images for `x` and targets `y`, from what `query` answers."""

    @property
    def white_box(self) -> bool:
        """Whether it takes gradients of the attacked network itself."""
        return True

    @classmethod
    def knows(cls, threat: Threat) -> bool:
        """Whether it can search under threats of this kind."""
        return threat.kind in cls.under

    def check(self, threat: Threat) -> None:
        """Raise `UserError` unless it can search under `threat`."""
        if not self.knows(threat):
            known = " and ".join(self.under)
            raise UserError(f"{short(self)} searches under threats on {known}, not on {threat.kind} as {threat} is")

    def on(self, model: nn.Module) -> "Attack":
        """What the attack comes down to on `model`."""
        return self

    def members(self) -> "list[Attack]":
        """The attacks that this one is made of, each of which may be run alone; their worst case is this attack's."""
        return [self]

    def averaging(self, draws: int) -> "Attack":
        """The same attack with its field `eot` at `draws`, unless it has none or sets its own."""
        alone = draws > 1 and getattr(self, "eot", None) == 1
        return replace(self, eot=draws) if alone else self  # type: ignore[type-var]

    @final
    def refuse_below_one(self, *fields: str) -> None:
        """Raise `UserError` for the first of these fields, which count something, that is below 1."""
        for name in fields:
            if getattr(self, name) < 1:
                raise UserError(f"{type(self).__name__} needs {name} of at least 1, not {getattr(self, name)}")

    @final
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, seed: int = 0) -> Tensor:
        """Perturbed images ``[B, C, H, W]`` inside the threat; `x` in [0, 1], `y` labels (or what the loss takes)."""
        return self.run(model, x, y, threat, seed=seed).x

    @final
    def run(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, seed: int = 0, stop: bool = False
    ) -> Outcome:
        """Like calling the attack, with its cost. `stop`: spend nothing more on an image once it is broken."""
        threat.check(x)
        self.check(threat)
        check_targets(y, x)
        with seeded(seed, x.device), as_evaluated(model):
            query = Query(model, len(x), x.device, stop)
            found = self.search(query, x.detach(), y, threat).detach()
        return Outcome(found, query.gradients, query.forwards)


class BlackBox(Attack):
    """An attack that takes no gradient of the attacked network: a control."""

    @property
    def white_box(self) -> bool:
        return False


class Query:
    """The model as an attack sees it: answers and counts, per image. `stop`: a broken image needs no more.

    `before` is told the places of the images that a gradient is about, before the model is called.
    """

    def __init__(
        self,
        model: nn.Module,
        images: int,
        device: torch.device,
        stop: bool,
        before: Callable[[Tensor], None] | None = None,
    ) -> None:
        self.model = model
        self.stop = stop
        self.before = before
        self.checked = False
        self.gradients = torch.zeros(images, dtype=torch.long, device=device)
        self.forwards = torch.zeros(images, dtype=torch.long, device=device)

    @contextmanager
    def among(
        self,
        who: Tensor,
        model: nn.Module | None = None,
        *,
        stop: bool | None = None,
        before: Callable[[Tensor], None] | None = None,
    ) -> Iterator["Query"]:
        """A query about the images at the places `who` alone, of `model` where one is given; its costs count here."""
        outer = self.before
        if before is None and model is None and outer is not None:
            before = lambda rows: outer(who[rows])  # noqa: E731
        within = Query(model or self.model, len(who), who.device, self.stop if stop is None else stop, before)
        yield within
        self.gradients[who] += within.gradients
        self.forwards[who] += within.forwards

    def left(self, best: "Best") -> Tensor:
        """The places of the images that are still to be attacked."""
        everyone = torch.arange(len(best.broken), device=best.broken.device)
        return everyone[~best.broken] if self.stop else everyone

    def gradient(self, x: Tensor, y: Tensor, loss: AttackLoss, who: Tensor, draws: int = 1) -> tuple[Tensor, "Answer"]:
        """The gradient of `loss` at `x` and the answer there, both means over `draws` passes.

        `who` ``[b]`` are the images' places in the batch, for the count. A gradient that is not finite counts as 0.
        """
        x = x.detach().requires_grad_()
        if self.before is not None:
            self.before(who)
        with torch.enable_grad():
            logits = self.logits(x, y, draws)
            value = loss(logits, y)
            slope = torch.zeros_like(x)  # what stays where the model cuts the graph
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value.sum(), x, materialize_grads=True)
        self.gradients[who] += draws
        self.forwards[who] += draws
        return slope.nan_to_num(0, 0, 0), Answer.of(logits.detach(), y, value.detach())

    def logits(self, x: Tensor, y: Tensor, draws: int) -> Tensor:
        """Mean logits ``[b, K]`` of `draws` passes, checked once."""
        given = x if self.checked else x.clone()
        logits = torch.stack([self.model(given) for _ in range(draws)]).mean(0) if draws > 1 else self.model(given)
        if not self.checked:
            check_unwritten(given, x)
            check_logits(logits, x)
            check_targets(y, x, logits.shape[1])
            self.checked = True
        return logits

    def answer(self, x: Tensor, y: Tensor, loss: AttackLoss, who: Tensor, draws: int = 1) -> "Answer":
        """Loss and verdict at `x`, without a gradient."""
        with torch.no_grad():
            logits = self.logits(x, y, draws)
            self.forwards[who] += draws
            return Answer.of(logits, y, loss(logits, y))


@dataclass(frozen=True)
class Answer:
    """Per image: the loss, and whether the prediction is wrong ``[b]``."""

    loss: Tensor
    broken: Tensor

    @staticmethod
    def of(logits: Tensor, y: Tensor, loss: Tensor) -> "Answer":
        return Answer(loss, logits.argmax(1) != labels_of(y))


class Best:
    """The best iterate per image: a broken one before an unbroken one, then the larger loss."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.loss = x.new_full((len(x),), -torch.inf)
        self.broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def offer(self, candidate: Tensor, answer: Answer, who: Tensor) -> None:
        had, loss = self.broken[who], self.loss[who]
        better = (answer.broken & ~had) | ((answer.broken == had) & (answer.loss > loss))
        place = who[better]
        self.x[place] = candidate.detach()[better]
        self.loss[place] = answer.loss[better].to(self.loss.dtype)
        self.broken[place] = answer.broken[better]


def per_image(values: Tensor, x: Tensor) -> Tensor:
    """Values ``[..., B]`` in the shape that multiplies images like `x` ``[B, C, H, W]``."""
    return values.view(*values.shape, *[1] * (x.ndim - 1))


@contextmanager
def as_evaluated(model: nn.Module) -> Iterator[None]:
    """The model in eval mode inside the block, every module in its own mode again after it."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def check_logits(logits: Any, x: Tensor) -> None:
    """Refuse what is no logits ``[B, K]``, floating point, for the images `x`."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        seen = list(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        timed = isinstance(logits, Tensor) and logits.ndim == 3 and logits.shape[1] == len(x)
        hint = ": outputs [T, B, K] over time are the model's to reduce, by their mean for example" if timed else ""
        raise UserError(f"a model returns logits [B, K]; for {len(x)} images this one returned {seen}{hint}")
    if not logits.is_floating_point():
        raise UserError(f"logits are floating point, not {logits.dtype}")


def check_unwritten(given: Tensor, x: Tensor) -> None:
    """Refuse a model that changed `given`, a copy of the images `x` that it was called with."""
    if not torch.equal(given, x):
        raise UserError("the model writes into its input: x = x - mean makes a new tensor where x -= mean changes x")


def check_targets(y: Tensor, x: Tensor, classes: int | None = None) -> None:
    """Refuse labels that are no integers ``[B]`` in [0, classes), naming the first such label."""
    if len(y) != len(x):
        raise UserError(f"{len(x)} images came with {len(y)} labels")
    if y.ndim == 2 and y.is_floating_point():
        return
    if y.ndim != 1 and y.shape[1:] != (2,):
        raise UserError(
            "labels are integers [B] (rows (label, class to reach) [B, 2] for a targeted loss, probabilities [B, K] "
            f"for a divergence), not {list(y.shape)}"
        )
    if y.dtype != torch.int64:
        raise UserError(f"labels are integers [B] of type int64, not {y.dtype}")
    if classes is not None:
        wrong = ((y < 0) | (y >= classes)).view(len(y), -1)
        if wrong.any():
            index = int(wrong.any(1).nonzero()[0])
            label = int(y.view(len(y), -1)[index][wrong[index]][0])
            raise UserError(f"label {label} of image {index} is out of range: there are {classes} classes")

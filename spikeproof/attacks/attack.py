"""What is an attack? A choice that, given a model, images and a threat, searches for allowed images that break it.

The model is any module from images in [0, 1] to logits. An attack leaves it as it found it - weights, mode,
gradients - and the random state too: the same seed gives the same result wherever it is called.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from spikeproof.attacks.inputs import laid_out
from spikeproof.attacks.query import Query, Task
from spikeproof.attacks.threats import Threat
from spikeproof.calling import as_evaluated, check_network, check_targets
from spikeproof.choices import Choice, UserError, short, whole_number
from spikeproof.randomness import Streams, seed_from, seeded


@dataclass(frozen=True)
class Outcome:
    """What an attack found ``[B, C, H, W]``, and what it cost: evaluations per image ``[B]``.

    `broken` ``[B]`` is what it believes to have broken; None where it does not know.
    """

    x: Tensor
    gradients: Tensor
    forwards: Tensor
    broken: Tensor | None = None


class Attack(Choice):
    """Searches for allowed images that a model gets wrong; called with ``(model, x, y, threat)``.

    Most are `Iterative`: they say how one step is taken, and the engine does the rest. `search` is the attack itself;
    `run`, round it, checks the input and guards the model and the random state. `under` are the kinds of threat that
    it knows: those on "images", on "frames", ...
    """

    under: ClassVar[tuple[str, ...]] = ("images",)

    @abstractmethod
    def search(self, task: Task) -> Outcome:
        """What is found for the images of `task`."""

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

    def on(self, model: nn.Module, *, trust: bool = False) -> "Attack":
        """What the attack comes down to on `model`; what it needs beside the model is read here, once.

        Raises `UserError` where that is code from outside spikeproof, unless `trust` is set.
        """
        return self

    def members(self) -> "list[Attack]":
        """The attacks that this one is made of, each of which may be run alone; their worst case is this attack's."""
        return [self]

    def averaging(self, draws: int) -> "Attack":
        """The same attack with its field `eot` at `draws`, unless it has none or sets its own."""
        alone = draws > 1 and getattr(self, "eot", None) == 1
        return replace(self, eot=draws) if alone else self  # type: ignore[type-var]

    @final
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, seed: int = 0) -> Tensor:
        """Perturbed images ``[B, C, H, W]`` inside the threat; `x` in [0, 1], `y` labels (or what the loss takes)."""
        return self.run(model, x, y, threat, seed=seed).x

    @final
    def run(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        seed: int = 0,
        stop: bool = False,
        index: Tensor | None = None,
        width: int | None = None,
        watch: Callable[[Callable[[], float]], None] | None = None,
    ) -> Outcome:
        """Like calling the attack, with its cost. `stop`: spend nothing more on an image once it is broken.

        At most `width` images (None: all) are attacked side by side. `index` ``[B]`` are the images' numbers in their
        data set (None: their places): under one `seed`, an image's random numbers depend on its own number alone.
        `watch` is called after each step with what tells the share [0, 1] of all steps that is done.
        """
        if not isinstance(threat, Threat):
            raise UserError(f"an attack needs a threat, Linf(0.1) for example, not {threat!r}")
        threat.check(x)
        self.check(threat)
        check_targets(y, x)
        check_network(model)
        whole_number("seed", seed, 0)
        if width is not None:
            whole_number("width", width, 1)
        index = torch.arange(len(x)) if index is None else index
        with seeded(seed_from(seed, int(index[0])), x.device), as_evaluated(model):  # for models that draw noise
            streams = Streams.of(seed, index.to(x.device))
            found = self.on(model).search(Task(model, laid_out(x), y, threat, streams, stop, width, watch=watch))
        return replace(found, x=found.x.detach())


class BlackBox(Attack):
    """An attack that takes no gradient of the attacked network: a control."""

    @property
    def white_box(self) -> bool:
        return False


class Whole(Attack):
    """An attack that is no sequence of like steps: it looks at all images of its task together."""

    @final
    def search(self, task: Task) -> Outcome:
        query = Query.over(task, eot=getattr(self, "eot", 1))
        found = self.find(query)
        return Outcome(found, query.slots.gradients, query.slots.forwards)

    @abstractmethod
    def find(self, query: Query) -> Tensor:
        """Perturbed images for all that `query` is about."""

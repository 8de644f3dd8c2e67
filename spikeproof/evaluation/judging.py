"""Does an attack break an image? What it returns is projected into the threat and judged by the network itself."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikeproof.attacks import Attack, Threat
from spikeproof.attacks.attack import Outcome
from spikeproof.calling import device_of, is_stochastic, predict
from spikeproof.choices import Choice, UserError, short, within
from spikeproof.evaluation.fresh import Fresh
from spikeproof.progress import seldom
from spikeproof.randomness import seed_from
from spikeproof.shortage import free, lacks_memory
from spikeproof.snn import GradientPath, attack_view


class Judgement(NamedTuple):
    """Per image ``[B]``, on the CPU: broken or not, evaluations spent, and whether its logits are no numbers.

    `images` ``[B, C, H, W]``, where they were attacked, are those that were judged.
    """

    broken: Tensor
    gradients: Tensor
    forwards: Tensor
    undefined: Tensor
    named: Tensor  # the class that the network answers
    images: Tensor


class Judge:
    """One network, judged by the mean logits of `draws` passes, or by their `vote`, in batches of one fixed shape.

    Attacks average over as many passes; on a network that may be stochastic none stops at a first lucky draw. At most
    `batch` images are attacked side by side: half as many, with a warning, from where memory runs out. With `precision`
    "bf16" attacks see the network under autocast; what judges is float32. It is a new copy, `fresh()`, each time: one
    that has seen neither these images nor what became of them before.
    """

    def __init__(
        self,
        model: nn.Module,
        draws: int,
        vote: bool,
        batch: int = 256,
        precision: str = "float32",
        fresh: Fresh | None = None,
    ) -> None:
        self.model = model
        self.fresh = fresh or Fresh(model)
        self.attacked = attack_view(model)
        self.draws = draws
        self.vote = vote
        self.batch = batch
        self.precision = precision
        self.device = device_of(model)
        self.stop = draws == 1 and not is_stochastic(model)

    def by_batch(self, *followed: Choice) -> bool:
        """Whether what is found for an image depends on the images beside it: by noise, or by a path.

        `followed` are attacks, or the paths along which gradients are taken.
        """
        own = (getattr(module, "gradient", None) for module in self.model.modules())
        parts = [part for place in (*own, *followed) for part in within(place, Choice)]
        of_batch = any(part.of_batch for part in parts if isinstance(part, GradientPath))
        return of_batch or bool(is_stochastic(self.model))

    def __call__(
        self,
        attack: Attack,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        seed: int,
        index: Tensor | None = None,
        draws: int | None = None,
        tell: Callable[[float], None] | None = None,
    ) -> Judgement:
        """What `attack` does to images `x`, of the numbers `index` in their pool (None: their places).

        Its gradients are means over `draws` passes, if given. `tell` hears now and then which share of its steps is
        done.
        """
        index = torch.arange(len(x)) if index is None else index
        found = self.attack(attack, x, y, threat, seed, index, draws, tell)
        return self.judged(found, attack, x, y, threat, seed, index)

    def judged(
        self, found: Outcome, attack: Attack, x: Tensor, y: Tensor, threat: Threat, seed: int, index: Tensor
    ) -> Judgement:
        """What becomes of the images that `attack` has `found`."""
        allowed = threat.project(found.x, x)
        legal = threat.contains(allowed, x).cpu()
        if not legal.all():  # such as NaN: an attack that searches nothing would count as one that finds nothing
            number = int(index[int((~legal).nonzero()[0])])
            raise UserError(f"{short(attack)} gives back for image {number} what no projection brings into {threat}")
        never_attacked = seed_from(seed, 1, int(index[0]))  # the noise of the judgement
        logits = predict(self.fresh(), allowed, draws=self.draws, vote=self.vote, seed=never_attacked)
        named = logits.argmax(1)
        broken = named != y.cpu()
        undefined = (~logits.isfinite()).any(1)
        return Judgement(broken, found.gradients.cpu(), found.forwards.cpu() + self.draws, undefined, named, allowed)

    def attack(
        self,
        attack: Attack,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        seed: int,
        index: Tensor,
        draws: int | None = None,
        tell: Callable[[float], None] | None = None,
    ) -> Outcome:
        """What `attack` finds; that does not depend on how many images are attacked side by side."""
        attack, watch = attack.averaging(draws or self.draws), tell and seldom(tell)
        while True:
            try:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                    return attack.run(
                        self.attacked,
                        x,
                        y,
                        threat,
                        seed=seed,
                        stop=self.stop,
                        index=index,
                        width=self.batch,
                        watch=watch,
                    )
            except (RuntimeError, MemoryError) as error:
                if self.batch == 1 or not lacks_memory(error):
                    raise
            free()  # outside of the block above: the error holds what was computed
            self.batch //= 2
            many = f"{self.batch} images are" if self.batch > 1 else "1 image is"
            warnings.warn(f"out of memory: from here on {many} attacked side by side", stacklevel=2)

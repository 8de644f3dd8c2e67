"""How are losses watched without waiting for the device at every step?

They stay where they were computed and are read together, once in a while. An accelerator then works through many steps
without looking back. What is not finite is found at the next reading, which comes before every checkpoint.
"""

import math

import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.training.checkpoints import Reached

EVERY = {"cpu": 1}  # steps between two readings; on a CPU a reading costs nothing
OFTEN = 50  # on an accelerator

GRADIENT = "gradient"  # its length is watched too, and is no loss


class Losses:
    """The means of an epoch's loss terms; `steps` is how many the whole epoch has, `reached` how far it has come."""

    def __init__(self, epoch: int, steps: int, reached: Reached) -> None:
        self.epoch = epoch
        self.steps = steps
        self.done = reached.steps
        self.sums = dict(reached.losses)
        self.waiting: list[tuple[list[str], Tensor]] = []

    def add(self, terms: dict[str, Tensor], length: Tensor) -> None:
        """Those of one more step, and the length of its gradient; nothing is looked at."""
        values = [*terms.values(), length]
        self.waiting.append(([*terms, GRADIENT], torch.stack([value.detach().float() for value in values])))

    def due(self, device: torch.device) -> bool:
        """Whether it is time to read."""
        waiting = len(self.waiting)
        return waiting >= EVERY.get(device.type, OFTEN) or self.done + waiting == self.steps

    def read(self) -> None:
        """Add up what waits. Raises `UserError` for the first number that is not finite, with its name and step."""
        if not self.waiting:
            return
        lengths = [len(values) for _, values in self.waiting]
        numbers = torch.cat([values for _, values in self.waiting]).cpu().split(lengths)  # the only look
        waiting, self.waiting = self.waiting, []
        for (names, _), values in zip(waiting, numbers, strict=True):
            self.done += 1
            for name, value in zip(names, values.tolist(), strict=True):
                self._refuse_unless_finite(name, value)
                if name != GRADIENT:
                    self.sums[name] = self.sums.get(name, 0.0) + value / self.steps

    def so_far(self) -> str:
        """The means over the steps that were read, in words."""
        return ", ".join(f"{name} {value * self.steps / self.done:.3f}" for name, value in self.sums.items())

    def _refuse_unless_finite(self, name: str, value: float) -> None:
        if math.isfinite(value):
            return
        what = "length of the" if name == GRADIENT else "loss term"
        raise UserError(
            f"training stopped: the {what} {name!r} is {value} in batch {self.done} of epoch {self.epoch + 1}. "
            "Try a smaller learning rate, a longer warm_up, or gradient_clip 1.0; the last checkpoint is still there"
        )

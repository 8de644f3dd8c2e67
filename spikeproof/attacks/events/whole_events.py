"""What do all threats of whole events have in common, which are all that a camera delivers?"""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from spikeproof.attacks.inputs import check_frames
from spikeproof.attacks.threats import Threat
from spikeproof.choices import EventCount, UserError


class EventThreat(Threat):
    """A threat of whole events: frames hold whole numbers, and `eps` counts what is changed."""

    eps: EventCount
    largest: ClassVar[float] = 2.0**31

    @property
    def budget(self) -> int:
        return self.eps

    def ascent(self, gradient: Tensor, z: Tensor) -> Tensor:
        raise UserError(f"{self} changes whole events: there is no step along a gradient")

    def contains(self, perturbed: Tensor, x: Tensor) -> Tensor:
        return self.distance(perturbed, x) <= self.eps  # infinite for what is not allowed at any size

    @abstractmethod
    def distance(self, perturbed: Tensor, x: Tensor) -> Tensor:
        """How much each recording is changed ``[B]``, a whole number; infinite where no budget would allow it."""


def check_binary(x: Tensor, threat: Threat) -> None:
    """Refuse event frames that hold other values than 0 and 1."""
    check_frames(x)
    if not ((x == 0) | (x == 1)).all():
        raise UserError(f"{threat} is about binary frames, and these hold counts: give the data framing.values: binary")

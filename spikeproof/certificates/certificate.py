"""What is a certificate? A choice that says of which threat its radius is, and what proves a radius for an image."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from spikeproof.attacks import Threat
from spikeproof.choices import Choice
from spikeproof.evaluation.predictions import Pool

__all__ = ["Certificate"]


class Finding(NamedTuple):
    """What is known of one image.

    `radius` is the largest size of the threat, itself included, at which no allowed image is named otherwise than
    `prediction`; 0 where nothing is certified. `p` is the lower bound on the probability of that class that it follows
    from, `votes` of `draws` passes named it; fewer draws than were asked for mean that it was given up early. `limit`
    is a size at which an image of another class is known, inf where none is.
    """

    prediction: int
    radius: float
    p: float = 1.0
    votes: int = 0
    draws: int = 0
    limit: float = math.inf


class Prover(ABC):
    """Finds radii, one image at a time: what it finds depends on nothing but the image and its number."""

    def largest(self, x: Tensor) -> float:
        """No radius of the image ``[C, H, W]`` can be larger, whatever is found."""
        return math.inf

    @abstractmethod
    def __call__(self, x: Tensor, number: int) -> Finding:
        """What is found for the image ``[C, H, W]``, on the network's device, of that number in its data set."""


class Certificate(Choice):
    """A way to prove that no image within a radius is named otherwise. Radii are sizes of `threat`.

    `votes` is whether what is certified is a majority over noise, and no single pass.
    """

    threat: ClassVar[type[Threat]]
    votes: ClassVar[bool] = False

    def about(self, model: nn.Module, pool: Pool) -> tuple[nn.Module, Pool]:
        """What is asked, and of what: the network and the images themselves, unless it is of recordings behind them."""
        return model, pool

    @abstractmethod
    def prover(self, model: nn.Module, *, seed: int = 0, batch: int | None = None, least: float = 0.0) -> Prover:
        """What proves radii for `model`; raises `UserError` for a network about which this certificate says nothing.

        An image may be given up as soon as it cannot reach the radius `least`. `batch` is how many passes are computed
        at once: it changes rounding and nothing else.
        """

"""What is an architecture? A choice that builds a body from currents to output currents."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from spikeproof.choices import Choice, UserError
from spikeproof.snn.layers import Layer

Row = TypeVar("Row")


class Architecture(Choice):
    """The shape of a network; `body` builds it for any image size, number of classes and neuron."""

    @abstractmethod
    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        """A module ``[T, B, *shape]`` -> ``[T, B, classes]`` that calls `neurons` for each layer of neurons."""


def pick(name: str, value: int, table: Mapping[int, Row]) -> Row:
    """The table's row for `value`, or an error that names what there is."""
    if value not in table:
        raise UserError(f"{name} has no depth {value}: there are {', '.join(map(str, table))}")
    return table[value]


def smallest_side(shape: tuple[int, int, int], needed: int, name: str) -> None:
    """Refuse images too small for the pooling of `name`."""
    if min(shape[1:]) < needed:
        raise UserError(f"{name} needs images of at least {needed}x{needed} pixels, not {shape[1]}x{shape[2]}")

"""A small convolutional network, for minutes on a laptop."""

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from spikeproof.ranges import AtLeast
from spikeproof.snn.architectures.architecture import Architecture, smallest_side
from spikeproof.snn.bodies import Body
from spikeproof.snn.layers import Layer, MeanPool, PerStep, conv


@dataclass(frozen=True, kw_only=True)
class SmallCNN(Architecture):
    """conv w1 - neuron | conv w2 - neuron - pool | conv w3 - neuron - pool | linear; all convolutions 3x3 with BN.

    `stride` is the first convolution's. With 2, all that follows meets a quarter of the pixels, and costs a quarter.
    """

    widths: tuple[int, int, int] = (32, 64, 128)
    stride: Annotated[int, AtLeast(1)] = 1

    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        smallest_side(shape, 4 * self.stride, "SmallCNN")
        first, second, third = self.widths
        height, width = (-(-side // self.stride) for side in shape[1:])
        return Body(
            conv(shape[0], first, stride=self.stride),
            neurons(),
            conv(first, second),
            neurons(),
            PerStep(MeanPool()),
            conv(second, third),
            neurons(),
            PerStep(MeanPool(), nn.Flatten(), nn.Linear(third * (height // 4) * (width // 4), classes)),
        )

"""A small convolutional network, for minutes on a laptop."""

from dataclasses import dataclass

from torch import nn

from spikeproof.snn.architectures.architecture import Architecture, smallest_side
from spikeproof.snn.bodies import Body
from spikeproof.snn.layers import Layer, MeanPool, PerStep, conv


@dataclass(frozen=True, kw_only=True)
class SmallCNN(Architecture):
    """conv w1 - neuron | conv w2 - neuron - pool | conv w3 - neuron - pool | linear; all convolutions 3x3 with BN."""

    widths: tuple[int, int, int] = (32, 64, 128)

    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        smallest_side(shape, 4, "SmallCNN")
        first, second, third = self.widths
        side = (shape[1] // 4) * (shape[2] // 4)
        return Body(
            conv(shape[0], first),
            neurons(),
            conv(first, second),
            neurons(),
            PerStep(MeanPool()),
            conv(second, third),
            neurons(),
            PerStep(MeanPool(), nn.Flatten(), nn.Linear(third * side, classes)),
        )

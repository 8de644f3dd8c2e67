"""A multilayer perceptron."""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from spikeproof.snn.architectures.architecture import Architecture
from spikeproof.snn.layers import Layer, Normed, PerStep


@dataclass(frozen=True, kw_only=True)
class MLP(Architecture):
    """Linear - (batch norm) - neuron for each entry of `hidden`, then a linear readout."""

    hidden: tuple[int, ...] = (256, 256)
    norm: bool = False

    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        widths = [math.prod(shape), *self.hidden]
        layers: list[nn.Module] = [PerStep(nn.Flatten())]
        for inputs, outputs in pairwise(widths):
            linear = nn.Linear(inputs, outputs)
            layers += [Normed(linear, nn.BatchNorm1d(outputs)) if self.norm else PerStep(linear), neurons()]
        return nn.Sequential(*layers, PerStep(nn.Linear(widths[-1], classes)))

"""VGG networks as the robust-SNN literature uses them: average pooling, three of them at most in VGG-11."""

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from spikeproof.choices import Within
from spikeproof.snn.architectures.architecture import Architecture, pick, smallest_side
from spikeproof.snn.bodies import Body
from spikeproof.snn.layers import Layer, MeanPool, PerStep, conv

STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    5: ((64,), (128, 128), ()),
    11: ((64,), (128, 256), (512, 512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}


@dataclass(frozen=True, kw_only=True)
class VGG(Architecture):
    """3x3 convolutions with BN in stages with 2x2 average pooling between them, then linear layers with neurons.

    `depth` 5, 11 or 16; `stages` gives the widths of each stage instead. VGG-11 pools three times (32 -> 4) and
    VGG-5 twice. Source: Simonyan and Zisserman, 2015, in the variant of SNN-RAT (Ding et al., NeurIPS 2022).
    """

    depth: int = 11
    stages: tuple[tuple[int, ...], ...] | None = None
    hidden: tuple[int, ...] = (4096, 4096)
    dropout: Annotated[float, Within(0, 1, "[)")] = 0.0

    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        stages = self.stages or pick("VGG", self.depth, STAGES)
        pools = len(stages) - 1
        smallest_side(shape, 2**pools, "VGG")
        layers: list[nn.Module] = []
        channels = shape[0]
        for number, widths in enumerate(stages):
            if number:
                layers.append(PerStep(MeanPool()))
            for width in widths:
                layers += [conv(channels, width), neurons()]
                channels = width
        layers.append(PerStep(nn.Flatten()))
        features = channels * (shape[1] >> pools) * (shape[2] >> pools)
        for width in self.hidden:
            layers += [PerStep(nn.Linear(features, width)), neurons()]
            if self.dropout:
                layers.append(PerStep(nn.Dropout(self.dropout)))
            features = width
        return Body(*layers, PerStep(nn.Linear(features, classes)))

"""Wide residual networks with pre-activation blocks."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.snn.architectures.architecture import Architecture, smallest_side
from spikeproof.snn.bodies import Body, Branches, Residual, fire
from spikeproof.snn.layers import ConvexCombination, Layer, Norm, PerStep, Pointwise, conv


@dataclass(frozen=True, kw_only=True)
class WideResNet(Architecture):
    """WRN-`depth`-`widen`: a convolution, three stages of BN - neuron - conv blocks, pooling, a linear readout.

    `widths` and `blocks` (three entries each) set stages one by one, for example a narrow last stage. A block's
    two branches meet in a learned `ConvexCombination`, as in SNN-RAT. Source: Zagoruyko and Komodakis, 2016.
    """

    depth: int = 16
    widen: int = 4
    widths: tuple[int, int, int] | None = None
    blocks: tuple[int, int, int] | None = None

    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        smallest_side(shape, 4, "WideResNet")
        if self.blocks is None and (self.depth - 4) % 6:
            raise UserError(f"a wide residual network has depth 6 n + 4 (10, 16, 22, 28, ...), not {self.depth}")
        blocks = self.blocks or ((self.depth - 4) // 6,) * 3
        widths = self.widths or (16 * self.widen, 32 * self.widen, 64 * self.widen)
        layers: list[nn.Module] = [PerStep(nn.Conv2d(shape[0], 16, 3, padding=1, bias=False))]
        channels = 16
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(PreActivationBlock(channels, width, stride, neurons))
                channels = width
        pool = PerStep(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        return Body(*layers, Norm(nn.BatchNorm2d(channels)), neurons(), pool)


class PreActivationBlock(Residual):
    """BN - neuron - conv - BN - neuron - conv beside a shortcut; the two meet where the next block reads them."""

    def __init__(self, inputs: int, outputs: int, stride: int, neurons: Layer) -> None:
        super().__init__()
        changes = inputs != outputs or stride != 1
        self.first = nn.Sequential(Norm(nn.BatchNorm2d(inputs)), neurons())
        self.second = nn.Sequential(conv(inputs, outputs, stride=stride), neurons())
        self.third = PerStep(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False))
        shortcut = Pointwise(inputs, outputs, stride)
        self.shortcut = PerStep(shortcut) if changes else nn.Identity()
        self.join = ConvexCombination()

    def forward(self, at: Tensor | Branches) -> Branches:
        norm, neurons = self.first
        s, x = fire(at, cast(Norm, norm), neurons)
        past = self.shortcut(s if isinstance(self.shortcut, PerStep) else x)
        return Branches(self.third(self.second(s)), past, self.join)

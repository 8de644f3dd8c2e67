"""Wide residual networks with pre-activation blocks."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.snn.architectures.architecture import Architecture, smallest_side
from spikeproof.snn.layers import Layer, PerStep, Pointwise, conv


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
        return nn.Sequential(*layers, PerStep(nn.BatchNorm2d(channels)), neurons(), pool)


class PreActivationBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, neurons: Layer) -> None:
        super().__init__()
        changes = inputs != outputs or stride != 1
        self.first = nn.Sequential(PerStep(nn.BatchNorm2d(inputs)), neurons())
        self.second = nn.Sequential(conv(inputs, outputs, stride=stride), neurons())
        self.third = PerStep(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False))
        shortcut = Pointwise(inputs, outputs, stride)
        self.shortcut = PerStep(shortcut) if changes else nn.Identity()
        self.join = ConvexCombination()

    def forward(self, x: Tensor) -> Tensor:
        s = self.first(x)
        past = self.shortcut(s if isinstance(self.shortcut, PerStep) else x)
        return self.join(self.third(self.second(s)), past)


class ConvexCombination(nn.Module):
    """a x + b y with two learned scalars that start at 1/2 (SNN-RAT keeps them on the simplex)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.weights[0] * x + self.weights[1] * y

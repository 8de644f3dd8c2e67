"""Residual spiking networks: the post-activation ResNet, and SEW-ResNet, which adds spikes to spikes."""

from dataclasses import dataclass

from torch import Tensor, nn

from spikeproof.snn.architectures.architecture import Architecture, pick, smallest_side
from spikeproof.snn.layers import Layer, PerStep, conv

SPIKING_BLOCKS = {18: (2, 2, 2, 2), 20: (3, 3, 3)}
SEW_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
LARGE = 65  # from this side on, images meet the ImageNet stem: a 7x7 convolution of stride 2, and pooling


@dataclass(frozen=True, kw_only=True)
class SpikingResNet(Architecture):
    """ResNet-18 (four stages from 64) or ResNet-20 (three stages from 16): the sum comes before the neuron.

    `widths` and `blocks` set stages one by one. Source: He et al., 2016; spiking: Zheng et al., AAAI 2021.
    """

    depth: int = 18
    widths: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None

    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        smallest_side(shape, 8, "SpikingResNet")
        blocks = self.blocks or pick("SpikingResNet", self.depth, SPIKING_BLOCKS)
        widths = self.widths or ((16, 32, 64) if self.depth == 20 else (64, 128, 256, 512))
        layers, channels = [stem(shape, widths[0], neurons)], widths[0]
        for width, stride in block_plan(widths, blocks):
            layers.append(AddThenFire(channels, width, stride, neurons))
            channels = width
        return nn.Sequential(*layers, head(channels, classes))


@dataclass(frozen=True, kw_only=True)
class SEWResNet(Architecture):
    """SEW-ResNet-18, -34 or -50: both branches fire, and their spikes are added.

    `widths` and `blocks` set stages one by one. Source: Fang et al., NeurIPS 2021.
    """

    depth: int = 18
    widths: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None

    def body(self, shape: tuple[int, int, int], classes: int, neurons: Layer) -> nn.Module:
        smallest_side(shape, 8, "SEWResNet")
        blocks = self.blocks or pick("SEWResNet", self.depth, SEW_BLOCKS)
        widths = self.widths or (64, 128, 256, 512)
        expansion = 4 if self.depth == 50 else 1
        layers, channels = [stem(shape, widths[0], neurons)], widths[0]
        for width, stride in block_plan(widths, blocks):
            layers.append(FireThenAdd(channels, width, stride, expansion, neurons))
            channels = width * expansion
        return nn.Sequential(*layers, head(channels, classes))


def block_plan(widths: tuple[int, ...], blocks: tuple[int, ...]) -> list[tuple[int, int]]:
    """Width and stride of every block; each stage but the first begins with a stride of 2."""
    plan = zip(range(len(widths)), widths, blocks, strict=True)
    return [(width, 2 if stage and not block else 1) for stage, width, count in plan for block in range(count)]


def stem(shape: tuple[int, int, int], width: int, neurons: Layer) -> nn.Module:
    if min(shape[1:]) < LARGE:
        return nn.Sequential(conv(shape[0], width), neurons())
    return nn.Sequential(conv(shape[0], width, 7, 2), neurons(), PerStep(nn.MaxPool2d(3, 2, padding=1)))


def head(channels: int, classes: int) -> nn.Module:
    return PerStep(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class AddThenFire(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, neurons: Layer) -> None:
        super().__init__()
        changes = inputs != outputs or stride != 1
        self.residual = nn.Sequential(conv(inputs, outputs, stride=stride), neurons(), conv(outputs, outputs))
        self.shortcut = conv(inputs, outputs, 1, stride) if changes else nn.Identity()
        self.fire = neurons()

    def forward(self, s: Tensor) -> Tensor:
        return self.fire(self.residual(s) + self.shortcut(s))


class FireThenAdd(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, expansion: int, neurons: Layer) -> None:
        super().__init__()
        outputs = width * expansion
        if expansion == 1:
            layers = [conv(inputs, width, stride=stride), neurons(), conv(width, width), neurons()]
        else:
            layers = [conv(inputs, width, 1), neurons(), conv(width, width, stride=stride), neurons()]
            layers += [conv(width, outputs, 1), neurons()]
        changes = inputs != outputs or stride != 1
        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), neurons()) if changes else nn.Identity()

    def forward(self, s: Tensor) -> Tensor:
        return self.residual(s) + self.shortcut(s)

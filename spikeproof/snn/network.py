"""What is a network? A choice (`Network`) that builds a plain module from images, or event frames, to logits."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikeproof.choices import Choice, Steps, UserError
from spikeproof.randomness import seeded
from spikeproof.snn.architectures import Architecture, SmallCNN
from spikeproof.snn.encoders import Direct, Encoder, Latency
from spikeproof.snn.layers import initialise
from spikeproof.snn.neurons import LIF, Activation, Neuron, SpikingNeuron
from spikeproof.snn.readouts import MeanCurrent, Readout

__all__ = ["Network", "SpikingNetwork"]

STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Network(Choice):
    """The choices that make a network; `build` makes it. With `ReLU` neurons and one step it is an ANN.

    `steps` is how often an image is seen (None: 4, or 1 by an ANN); event frames are as many as their data set makes.
    `channels_last` lays images and weights out pixel by pixel, in which convolutions and pooling are faster
    (`python -m benchmarks --layouts`).
    """

    architecture: Architecture = SmallCNN()
    neuron: Neuron = LIF()
    encoder: Encoder = Direct()
    readout: Readout = MeanCurrent()
    steps: Steps | None = None
    channels_last: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.encoder, Latency) and isinstance(self.neuron, SpikingNeuron) and self.neuron.two_phases:
            raise UserError(
                "a latency code tells by the order of its spikes, which neurons of two phases do not see: set "
                "two_phases to false, or take another encoder"
            )
        if self.is_ann and self.steps not in (None, 1):
            kind = type(self.neuron).__name__
            raise UserError(f"a {kind} network is an ANN and sees one time step: set steps to 1, not {self.steps}")

    @property
    def is_ann(self) -> bool:
        """Whether its units are an ANN's."""
        return isinstance(self.neuron, Activation)

    def build(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        seed: int = 0,
    ) -> "SpikingNetwork":
        """A freshly initialised model for images (C, H, W) or event frames (T, P, H, W); the same for the same `seed`.

        `mean` and `std` are the data's, one a channel, in pixel units (default 0 and 1).
        """
        steps, frame = self._steps(shape), (shape[-3], shape[-2], shape[-1])
        if classes < 2:
            raise UserError(f"a classifier needs at least 2 classes, not {classes}")
        with seeded(seed, torch.device("cpu")):
            try:
                body = self.architecture.body(frame, classes, lambda: self.neuron.layer(steps))
            except UserError:
                raise
            except (RuntimeError, ValueError, TypeError) as error:
                raise UserError(f"{self.architecture} cannot be built for images {frame}: {error}") from error
            initialise(body)
        normalise = Normalise(mean or (0.0,) * frame[0], std or (1.0,) * frame[0])
        model = SpikingNetwork(self.encoder, normalise, body, self.readout, steps, tuple(shape), classes)
        model.memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(memory_format=model.memory_format)  # type: ignore[call-overload]

    def _steps(self, shape: tuple[int, ...]) -> int:
        """How many time steps there are for data of this shape."""
        if len(shape) not in (3, 4) or min(shape) < 1:
            raise UserError(f"data are images (C, H, W) or event frames (T, P, H, W), not of shape {tuple(shape)}")
        if self.encoder.framed != (len(shape) == 4):
            right = "the encoder Frames" if len(shape) == 4 else "an encoder of images, Direct for example"
            raise UserError(f"{self.encoder} cannot read data of shape {tuple(shape)}: choose {right}")
        if not self.encoder.framed:
            return self.steps or (1 if self.is_ann else STEPS)
        if self.steps not in (None, shape[0]):
            raise UserError(f"the data have {shape[0]} frames, one a step: leave steps out, or set the data's frames")
        return shape[0]


class SpikingNetwork(nn.Module):
    """Images ``[B, C, H, W]`` in [0, 1], or event frames ``[B, T, P, H, W]``, -> logits ``[B, K]``.

    It encodes, normalises, runs the body, and reads out.
    """

    def __init__(
        self,
        encoder: Encoder,
        normalise: nn.Module,
        body: nn.Module,
        readout: Readout,
        steps: int,
        shape: tuple[int, ...],
        classes: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.normalise = normalise
        self.body = body
        self.readout = readout
        self.steps = steps
        self.shape = shape
        self.classes = classes
        self.memory_format = torch.contiguous_format

    @property
    def stochastic(self) -> bool:
        """Whether two calls may differ; an attack then has to average over draws."""
        return self.encoder.stochastic

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.shape or not x.is_floating_point():
            wanted = ", ".join(map(str, self.shape))
            kind = "event frames" if self.encoder.framed else "images"
            values = "of floats" if self.encoder.framed else "of floats in [0, 1]"
            raise UserError(f"the network takes {kind} [B, {wanted}] {values}, not {x.dtype} {list(x.shape)}")
        currents = self.encoder(self._laid_out(x), self.steps)
        if self.encoder.normalised:
            currents = self.normalise(currents)
        return self.readout(self.body(currents).expand(self.steps, -1, -1))  # without neurons it is still constant

    def _laid_out(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return x.contiguous(memory_format=self.memory_format)
        frames = x.transpose(0, 1).flatten(0, 1).contiguous(memory_format=self.memory_format)
        return frames.unflatten(0, (x.shape[1], len(x))).transpose(0, 1)  # [B, T, P, H, W], T outermost in memory

    def extra_repr(self) -> str:
        return f"encoder={self.encoder}, readout={self.readout}, steps={self.steps}"


class Normalise(nn.Module):
    """(x - mean) / std per channel of ``[T, B, C, H, W]``, so that all outside the network is in pixel units."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        if not all(s > 0 for s in std):
            raise UserError(f"std must be positive in every channel, not {std}")
        self.mean = nn.Buffer(torch.tensor(mean).view(-1, 1, 1))
        self.std = nn.Buffer(torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

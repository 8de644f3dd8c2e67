"""What stands between the neurons? Ordinary torch layers, applied to every time step at once.

Activations are ``[T, B, ...]``, and a leading 1 means constant in time. So what lies before the first neuron of a
direct-coded network is computed once and not T times.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from spikeproof.snn.wrappers import computes

Layer = Callable[[], nn.Module]  # builds one layer of neurons; every architecture takes one


class PerStep(nn.Sequential):
    """Layers without a memory, run on all time steps at once: time is folded into the batch.

    Batch normalisation therefore takes its statistics over time and batch. Over a constant input they are those
    of one copy, which differs from T copies only in the running variance's factor n / (n - 1).
    """

    def forward(self, x: Tensor) -> Tensor:  # [T, B, ...] -> [T, B, ...]
        return per_step(self, x)


def per_step(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """What `PerStep` of `layers` makes of `x`."""
    y = x.flatten(0, 1)
    for layer in layers:
        y = layer(y)
    return y.unflatten(0, x.shape[:2])


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[C]`` of a batch norm in eval mode, differentiable."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return scale, norm.bias - mean * scale


class Norm(PerStep):
    """A batch norm with no layer before it that it could be folded into; `Body` computes it with the neurons after it.

    In an attack view its scale and shift are computed once, and held.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__(norm)
        self.register_buffer("held", None, persistent=False)

    @property
    def fixed(self) -> bool:
        """Whether it is a scale and a shift, the same for all batches."""
        return not self[0].training

    def affine(self) -> Tensor:
        """Scale and shift ``[2, C]``, without a gradient."""
        held = self._buffers["held"]
        return torch.stack(affine(self[0])).detach() if held is None else held

    def hold(self) -> None:
        """From now on its scale and shift are what they are now."""
        self._buffers["held"] = self.affine()


class Normed(PerStep):
    """A convolution or linear layer and its batch norm.

    In eval mode the layer alone is called, with the norm folded into its weights: hooks on it see what it computes.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self[1].training or not self.foldable:
            return super().forward(x)
        weight, bias = self.folded()
        answer: Tensor = functional_call(self[0], {"weight": weight, "bias": bias}, x.flatten(0, 1))
        return answer.unflatten(0, x.shape[:2])

    @property
    def foldable(self) -> bool:
        """Whether the layer's weight lies there: one that is computed at each call is normalised after it."""
        return not computes(self[0])

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one layer that both are in eval mode, differentiable."""
        layer, (scale, shift) = self[0], affine(self[1])
        weight = cast(Tensor, layer.weight)
        bias = shift if layer.bias is None else shift + cast(Tensor, layer.bias) * scale
        return weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias


class MeanPool(nn.Module):
    """2x2 average pooling that keeps nothing for backward, where torch's own keeps its whole input."""

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, C, H // 2, W // 2]
        even = x.shape[-2] % 2 == 0 and x.shape[-1] % 2 == 0
        return _MeanPool.apply(x) if even else F.avg_pool2d(x, 2)


def mean_pool(x: Tensor) -> Tensor:
    """`MeanPool` of ``[T, B, C, H, W]``."""
    return MeanPool()(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class _MeanPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        if ctx.channels_last:
            return spread(grads[0].permute(0, 2, 3, 1), (1, 2)).permute(0, 3, 1, 2)
        return spread(grads[0], (2, 3))


def spread(means: Tensor, axes: tuple[int, int]) -> Tensor:
    """The gradient on what is averaged 2x2, given that on its `means`; contiguous.

    `axes` are those of the pixels: next to each other, and twice as long in the answer.
    """
    first, second = (axis % means.ndim for axis in axes)
    shape = means.shape
    apart = (means / 4).unsqueeze(first + 1).unsqueeze(second + 2)
    sizes = (*shape[: first + 1], 2, shape[second], 2, *shape[second + 1 :])
    long = (*shape[:first], 2 * shape[first], 2 * shape[second], *shape[second + 1 :])
    return apart.expand(sizes).reshape(long)


class ConvexCombination(nn.Module):
    """a x + b y with two learned scalars that start at 1/2 (SNN-RAT keeps them on the simplex)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.weights[0] * x + self.weights[1] * y


class Pointwise(nn.Conv2d):
    """A 1x1 convolution without a bias; one with a stride looks at every stride-th pixel and has no stride itself.

    The numbers are the same, and a fault of oneDNN is avoided (`python -m benchmarks.convolution_faults`). Its backward
    of a strided 1x1 convolution writes past the end of a buffer, in `channels_last` on processors with AVX2 but no
    AVX-512.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        self.every = stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., :: self.every, :: self.every])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, every={self.every}"


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> Normed:
    """A convolution that keeps the size (but for its stride), and batch normalisation."""
    plain = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False) if kernel > 1 else None
    return Normed(plain or Pointwise(inputs, outputs, stride), nn.BatchNorm2d(outputs))


def initialise(model: nn.Module) -> None:
    """Kaiming normal (fan out) for convolutions, zero for the biases of linear layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

"""What stands between the neurons? Ordinary torch layers, applied to every time step at once.

Activations are ``[T, B, ...]``, and a leading 1 means constant in time. So what lies before the first neuron of a
direct-coded network is computed once and not T times.
"""

from collections.abc import Callable
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
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


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
        layer, norm = self[0], cast(nn.BatchNorm2d, self[1])
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        weight = cast(Tensor, layer.weight)
        mean = mean if layer.bias is None else mean - cast(Tensor, layer.bias)
        return weight * scale.view(-1, *[1] * (weight.ndim - 1)), norm.bias - mean * scale


class MeanPool(nn.Module):
    """2x2 average pooling that keeps nothing for backward, where torch's own keeps its whole input."""

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, C, H // 2, W // 2]
        even = x.shape[-2] % 2 == 0 and x.shape[-1] % 2 == 0
        return _MeanPool.apply(x) if even else F.avg_pool2d(x, 2)


class _MeanPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        n, c, h, w = grads[0].shape
        quarter = grads[0] / 4
        if ctx.channels_last:
            spread = quarter.permute(0, 2, 3, 1)[:, :, None, :, None].expand(n, h, 2, w, 2, c)
            return spread.reshape(n, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
        return quarter[..., :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)


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

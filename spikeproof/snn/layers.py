"""What stands between the neurons? Ordinary torch layers, applied to every time step at once.

Activations are ``[T, B, ...]``; a leading 1 means constant in time, so what lies before the first neuron of a
direct-coded network is computed once and not T times.
"""

from collections.abc import Callable

from torch import Tensor, nn

Layer = Callable[[], nn.Module]  # builds one layer of neurons; every architecture takes one


class PerStep(nn.Sequential):
    """Layers without a memory, run on all time steps at once: time is folded into the batch.

    Batch normalisation therefore takes its statistics over time and batch. Over a constant input they are those
    of one copy, which differs from T copies only in the running variance's factor n / (n - 1).
    """

    def forward(self, x: Tensor) -> Tensor:  # [T, B, ...] -> [T, B, ...]
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> PerStep:
    """A convolution that keeps the size (but for its stride), and batch normalisation."""
    return PerStep(nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def initialise(model: nn.Module) -> None:
    """Kaiming normal (fan out) for convolutions, zero for the biases of linear layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

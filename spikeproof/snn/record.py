"""What happened inside? Currents, spikes and potentials of every spiking layer during the calls in a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from spikeproof.snn.dynamics import integrate
from spikeproof.snn.gradients import Slope, Triangle
from spikeproof.snn.neurons import SpikingLayer

__all__ = ["Recording", "record"]


@dataclass
class Recording:
    """Currents and spikes ``[T, B, *n]`` of the last call, by layer name, in order of their call; with gradients.

    Currents have a leading 1 where they are constant in time, and are those before a layer's own gain.
    """

    currents: dict[str, Tensor] = field(default_factory=dict)
    spikes: dict[str, Tensor] = field(default_factory=dict)
    layers: dict[str, SpikingLayer] = field(default_factory=dict)

    def potentials(self, name: str) -> Tensor:
        """Potentials before the reset ``[T, B, *n]`` of layer `name`, recomputed by the reference, differentiable."""
        layer = self.layers[name]
        slope = layer.gradient if isinstance(layer.gradient, Slope) else Triangle()
        currents = layer.amplified(self.currents[name])
        return integrate(currents.expand(layer.steps, *currents.shape[1:]), layer.dynamics(), slope).potentials

    def rates(self) -> dict[str, float]:
        """Share of neurons that fire in a step, by layer."""
        return {name: spikes.float().mean().item() for name, spikes in self.spikes.items()}


@contextmanager
def record(model: nn.Module) -> Iterator[Recording]:
    """Records every spiking layer of `model` while the block runs; nothing stays on the modules afterwards."""
    seen = Recording()

    def watch(name: str, layer: SpikingLayer) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if module is layer:  # a view has its model's hooks
                seen.layers[name], seen.currents[name], seen.spikes[name] = layer, inputs[0], output

        return layer.register_forward_hook(hook)

    handles = [watch(n, m) for n, m in model.named_modules() if isinstance(m, SpikingLayer)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()

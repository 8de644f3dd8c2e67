"""What happened inside? Currents, spikes and potentials of every layer of neurons, in the last call in a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from spikeproof.snn.dynamics import Trace, integrate
from spikeproof.snn.gradients import Slope, Triangle
from spikeproof.snn.neurons import ACTIVATIONS, SpikingLayer

__all__ = ["Internals", "potential_perturbation", "record"]


@dataclass
class Internals:
    """Currents and spikes ``[T, B, *n]`` of the last call, by layer name, in order of their call; with gradients.

    Currents have a leading 1 where they are constant in time. They are those before a layer's own gain, and before a
    layer of two phases takes their mean. The activations of an ANN have currents too, but no spikes; `layers` are the
    spiking ones.
    """

    currents: dict[str, Tensor] = field(default_factory=dict)
    spikes: dict[str, Tensor] = field(default_factory=dict)
    layers: dict[str, SpikingLayer] = field(default_factory=dict)

    def potentials(self, name: str) -> Tensor:
        """Potentials before the reset ``[T, B, *n]`` of layer `name`, recomputed by the reference, differentiable."""
        return self._trace(name).potentials

    def distances(self, name: str) -> Tensor:
        """The potentials of layer `name` minus the threshold that each is held against ``[T, B, *n]``."""
        return self._trace(name).distances

    def _trace(self, name: str) -> Trace:
        layer = self.layers[name]
        slope = layer.gradient if isinstance(layer.gradient, Slope) else Triangle()
        currents = layer.amplified(self.currents[name])
        return integrate(currents.expand(layer.steps, *currents.shape[1:]), layer.dynamics(), slope)

    def rates(self) -> dict[str, float]:
        """Share of neurons that fire in a step, by layer."""
        return {name: spikes.float().mean().item() for name, spikes in self.spikes.items()}


@contextmanager
def record(model: nn.Module) -> Iterator[Internals]:
    """Records every layer of neurons of `model` while the block runs; nothing stays on the modules afterwards."""
    seen = Internals()

    def watch(name: str, layer: nn.Module) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if module is not layer:  # a view has its model's hooks
                return
            seen.currents[name] = inputs[0]
            if isinstance(layer, SpikingLayer):
                seen.layers[name], seen.spikes[name] = layer, output

        return layer.register_forward_hook(hook)

    handles = [watch(n, m) for n, m in model.named_modules() if isinstance(m, (SpikingLayer, *ACTIVATIONS))]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def potential_perturbation(clean: Internals, moved: Internals, name: str) -> Tensor:
    """How far layer `name` is moved off its course, the reset left out ``[T, B, *n]``; no gradient to `clean`.

    Y[t] = leak Y[t-1] + I~[t] - I[t], Y[-1] = 0, for currents I and perturbed currents I~. Neurons of other dynamics
    are charged with the difference as with a current, those of two phases with its mean over time. Source: Ding et al.,
    ICML 2024, arXiv 2405.20694 (MPPD); the gain of a DLIF layer is no part of it, there and here.
    """
    layer = moved.layers[name]
    dynamics = layer.dynamics().held()
    wide = torch.promote_types(moved.currents[name].dtype, torch.float32)  # a difference of two roundings, else
    difference = layer.collected(moved.currents[name].to(wide) - clean.currents[name].detach().to(wide))
    state, potentials = tuple(map(torch.zeros_like, dynamics.start(difference[0]))), []
    for moved_by in difference.expand(layer.steps, *difference.shape[1:]):
        state = dynamics.charge(state, moved_by)
        potentials.append(state[0])
    return torch.stack(potentials)

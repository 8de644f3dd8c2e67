"""snnTorch: its neurons keep their potentials in themselves, and have a `reset_mem`."""

from typing import Any

from torch import nn

from spikeproof.snn.foreign.library import Library


class SnnTorch(Library):
    """A neuron's `spike_grad` makes its spikes."""

    package = "snntorch"
    spikes = "spike_grad"

    def forget(self, network: nn.Module) -> None:
        module: Any
        for module in network.modules():
            if self.made(module) and hasattr(module, "reset_mem"):
                module.reset_mem()

"""What must be known of a library, so that its networks take part?"""

from abc import ABC
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import nn

from spikeproof.snn.foreign.spikes import ForeignSpike, StepPath


class Library(ABC):
    """One library of spiking neurons: `package` is what it is imported as."""

    package: ClassVar[str]
    spikes: ClassVar[str]  # the attribute of a neuron that makes its spikes

    def made(self, module: nn.Module) -> bool:
        """Whether `module` is of this library, or derives from something that is."""
        return any(kind.__module__.partition(".")[0] == self.package for kind in type(module).__mro__)

    def fires(self, module: nn.Module) -> bool:
        """Whether `module` is one of its neurons."""
        return self.made(module) and callable(getattr(module, self.spikes, None))

    def exchange(self, neuron: Any, path: StepPath) -> None:
        """Make a neuron of a view answer along `path`."""
        own = getattr(neuron, self.spikes)
        setattr(neuron, self.spikes, ForeignSpike(own.own if isinstance(own, ForeignSpike) else own, path))

    def resets(self, neuron: nn.Module) -> bool:
        """Whether the gradient of `neuron` flows through its reset, and can be kept from it."""
        return False

    def detach_reset(self, neuron: Any) -> None:
        """Make a neuron of a view hold its reset constant."""
        neuron.detach_reset = True

    def forget(self, network: nn.Module) -> None:  # noqa: B027 - not every library keeps state in its modules
        """Drop what the neurons of `network` remember of the last call."""

    @contextmanager
    def differentiable(self, network: nn.Module) -> Iterator[None]:
        """Inside the block the neurons of `network` have a gradient."""
        yield

    def answer(self, network: nn.Module, returned: Any) -> Any:
        """The logits in what a call of `network` returned."""
        return returned

"""Norse: state is passed along; a neuron's step is a plain function, in which `threshold` is a global name."""

from types import FunctionType
from typing import Any

from torch import nn

from spikeproof.snn.foreign.library import Library
from spikeproof.snn.foreign.spikes import ForeignSpike, StepPath


class Norse(Library):
    """A neuron's `activation` is the function of one step."""

    package = "norse"
    spikes = "activation"

    def exchange(self, neuron: Any, path: StepPath) -> None:
        own = neuron.activation
        own = own.own if isinstance(own, ForeignStep) else own
        if isinstance(own, FunctionType):
            neuron.activation = ForeignStep(own, path)

    def answer(self, network: nn.Module, returned: Any) -> Any:
        """An outermost sequence returns its state too."""
        return returned[0] if self.made(network) and isinstance(returned, tuple) else returned


class ForeignStep(nn.Module):
    """A neuron's function `own` for one step, but for `threshold`, a global function where it stands."""

    def __init__(self, own: FunctionType, path: StepPath) -> None:
        super().__init__()
        self.own = own
        self.around = nn.ModuleDict()
        for name in set(own.__code__.co_names) & own.__globals__.keys():
            found = own.__globals__[name]
            if name == "threshold":
                self.around[name] = ForeignSpike(found, path)
            elif isinstance(found, FunctionType) and found.__module__.startswith("norse."):
                self.around[name] = ForeignStep(found, path)

    def forward(self, *given: Any, **named: Any) -> Any:
        own = self.own
        seen = {**own.__globals__, **dict(self.around.items())}
        return FunctionType(own.__code__, seen, own.__name__, own.__defaults__, own.__closure__)(*given, **named)

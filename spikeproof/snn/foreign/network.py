"""How does another library's network become a function of the image alone? It forgets before and after each call."""

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from spikeproof.snn.foreign.library import Library
from spikeproof.snn.foreign.norse import Norse
from spikeproof.snn.foreign.snntorch import SnnTorch
from spikeproof.snn.foreign.spikes import ForeignSpike, takes
from spikeproof.snn.foreign.spikingjelly import SpikingJelly
from spikeproof.snn.gradients import GradientPath
from spikeproof.snn.wrappers import unwrapped

LIBRARIES: tuple[Library, ...] = (SpikingJelly(), SnnTorch(), Norse())


def adapt(model: nn.Module) -> nn.Module:
    """`model` as a function of the image alone, for attacks and evaluations; its logits are its own, bit for bit.

    The neurons of SpikingJelly, snnTorch and Norse forget what they keep before and after each call. In SpikingJelly
    that is all that has a `reset`. `view` exchanges their gradient paths. Any other model is returned as it is: state
    that is kept by hand stays. Neurons of SpikingJelly before 2.0 have no gradient in eval mode, and get their own.
    Wrappers that compute the same, `torch.compile` and `DataParallel` for example, are taken off first. Raises
    `UserError` for what `torch.jit` or `torch.export` made: there are no neurons in it any more.
    """
    model = unwrapped(model)
    return Foreign(model) if libraries(model) and not isinstance(model, Foreign) else model


class Foreign(nn.Module):
    """A network of another library, whose neurons remember nothing from call to call."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    @property
    def stochastic(self) -> bool | None:
        """What the network declares of itself, if anything."""
        return getattr(self.network, "stochastic", None)

    def forward(self, x: Tensor) -> Tensor:
        self._forget()
        try:
            with ExitStack() as stack:
                for library in LIBRARIES:
                    stack.enter_context(library.differentiable(self.network))
                returned = self.network(x)
        finally:
            self._forget()
        for library in LIBRARIES:
            returned = library.answer(self.network, returned)
        return returned

    def _forget(self) -> None:
        for library in LIBRARIES:
            library.forget(self.network)

    def twin(self) -> "Foreign":
        """The same network over the same tensors, with modules, state and bound methods of its own."""
        shared: dict[int, Any] = {}
        for module in self.modules():
            shared[id(module._forward_hooks)] = OrderedDict()  # hooks on a model do not see its views
            shared |= {id(tensor): tensor for tensor in _tensors(vars(module))}
            if isinstance(module, ForeignSpike):
                shared[id(module.gradient)] = module.gradient.for_layer()  # with a memory of its own
        return copy.deepcopy(self, shared)


def libraries(model: nn.Module) -> list[str]:
    """The libraries that modules of `model` come from."""
    return sorted(library.package for library in LIBRARIES if any(map(library.made, model.modules())))


def fires(module: nn.Module) -> bool:
    """Whether `module` is a neuron of another library."""
    return any(library.fires(module) for library in LIBRARIES)


def exchange(module: nn.Module, path: GradientPath) -> None:
    """Make the neuron `module` of a view answer along `path`; any other module stays as it is."""
    for library in LIBRARIES:
        if library.fires(module) and takes(path):
            library.exchange(module, path)


def detach_reset(model: nn.Module) -> nn.Module:
    """`model`, or a view of it whose neurons hold the reset constant, where its library's neurons let it through."""
    if not any(library.fires(m) and library.resets(m) for library in LIBRARIES for m in model.modules()):
        return model
    other = (model if isinstance(model, Foreign) else Foreign(model)).twin()
    for module in other.modules():
        for library in LIBRARIES:
            if library.fires(module) and library.resets(module):
                library.detach_reset(module)
    return other


def _tensors(kept: Any) -> Iterator[Tensor]:
    inside = kept.values() if isinstance(kept, dict) else kept if isinstance(kept, list | tuple) else ()
    yield from (kept,) if isinstance(kept, Tensor) else (tensor for value in inside for tensor in _tensors(value))

"""How does another library's network become a function of the image alone? It forgets before and after each call."""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.snn.foreign.by_hand import with_reset
from spikeproof.snn.foreign.interface import Interface, Reduction
from spikeproof.snn.foreign.library import Library
from spikeproof.snn.foreign.norse import Norse
from spikeproof.snn.foreign.snntorch import SnnTorch
from spikeproof.snn.foreign.spikes import ForeignSpike, takes
from spikeproof.snn.foreign.spikingjelly import SpikingJelly
from spikeproof.snn.gradients import GradientPath
from spikeproof.snn.network import SpikingNetwork
from spikeproof.snn.neurons import SpikingLayer
from spikeproof.snn.wrappers import unwrapped

LIBRARIES: tuple[Library, ...] = (SpikingJelly(), SnnTorch(), Norse())


def adapt(
    model: nn.Module,
    *,
    mean: Sequence[float] | float = (),
    std: Sequence[float] | float = (),
    reduce: Reduction | None = None,
) -> nn.Module:
    """`model` as a function of the image alone, for attacks and evaluations.

    `mean` and `std` are what images were normalised by in its training, of pixels in [0, 1]: one number a channel, or
    one for all. `reduce` ("mean", "sum", "last") makes logits of outputs ``[T, B, K]``, or of a pair (spikes,
    membrane) of them: the mean or the sum of the spikes, or the last membrane.

    The neurons of SpikingJelly, snnTorch and Norse forget what they keep before and after each call. In SpikingJelly
    that is all that has a `reset`. In a network of other modules a `reset` without arguments is called too, unless it
    changes weights. `view` exchanges the gradient paths of libraries. A network of float64 gets its images so. Any
    other model is returned as it is: other state that is kept by hand stays. Neurons of SpikingJelly before 2.0 have no
    gradient in eval mode, and get their own. Wrappers that compute the same, `torch.compile` and `DataParallel` for
    example, are taken off first. Logits are then the model's own, bit for bit. Raises `UserError` for what `torch.jit`
    or `torch.export` made: there are no neurons in it any more.
    """
    interface = Interface(mean=_numbers(mean), std=_numbers(std), reduce=reduce)
    model = unwrapped(model)
    if isinstance(model, Foreign):
        if interface.plain:
            return model
        raise UserError("this network is adapted already: hand in the one that was given to adapt")
    jelly = any(map(SpikingJelly().made, model.modules()))  # it resets them all
    own = [] if jelly else with_reset(model, lambda module: any(library.made(module) for library in LIBRARIES))
    double = _precision(model) == torch.float64 and not any(map(_is_ours, model.modules()))  # ours take any type
    if libraries(model) or own or not interface.plain or double:
        return Foreign(model, interface, own)
    return model


def _numbers(given: Sequence[float] | float) -> tuple[float, ...]:
    return (given,) if isinstance(given, int | float) else tuple(given)


def _is_ours(module: nn.Module) -> bool:
    return isinstance(module, SpikingLayer | SpikingNetwork)


def _precision(model: nn.Module) -> torch.dtype | None:
    """What its first numbers with a point are held in."""
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)


class Foreign(nn.Module):
    """A network of another library, or of none, that remembers nothing from call to call.

    `interface` is what it takes and returns. `own` are the modules whose `reset` is called.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, interface: Interface | None = None, own: Sequence[nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.interface = interface or Interface()
        self.own = tuple(own or ())
        for name, tensor in zip(("mean", "std"), self.interface.statistics(), strict=True):
            self.register_buffer(name, tensor, persistent=False)
        self.training = network.training

    @property
    def stochastic(self) -> bool | None:
        """What the network declares of itself, if anything."""
        return getattr(self.network, "stochastic", None)

    def forward(self, x: Tensor) -> Any:
        self._forget()
        try:
            with ExitStack() as stack:
                for library in LIBRARIES:
                    stack.enter_context(library.differentiable(self.network))
                returned = self.network(self._taken(x))
        finally:
            self._forget()
        for library in LIBRARIES:
            returned = library.answer(self.network, returned)
        return self.interface.logits(returned, len(x))

    def _taken(self, x: Tensor) -> Tensor:
        """What the network gets for images `x`."""
        wide = x.dtype == torch.float32 and _precision(self.network) == torch.float64
        x = x.double() if wide else x
        if not self.interface.mean:
            return x
        self.interface.check(x)
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)

    def _forget(self) -> None:
        for library in LIBRARIES:
            library.forget(self.network)
        module: Any
        for module in self.own:
            module.reset()

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
    adapted = adapt(model)
    assert isinstance(adapted, Foreign)  # it has neurons of a library
    other = adapted.twin()
    for module in other.modules():
        for library in LIBRARIES:
            if library.fires(module) and library.resets(module):
                library.detach_reset(module)
    return other


def _tensors(kept: Any) -> Iterator[Tensor]:
    inside = kept.values() if isinstance(kept, dict) else kept if isinstance(kept, list | tuple) else ()
    yield from (kept,) if isinstance(kept, Tensor) else (tensor for value in inside for tensor in _tensors(value))

"""How does a network take part that SpikingJelly, snnTorch or Norse built? It forgets round each call; paths change.

None of them is imported: a module belongs to a library if its class, or one that it derives from, is defined there.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from spikeproof.snn.gradients import GradientPath, Slope
from spikeproof.snn.paths import ASSG, AdaptiveSharpness, as_answered

__all__ = ["adapt"]

# by library, the attribute of a neuron that makes its spikes
SPIKES = {"spikingjelly": "surrogate_function", "snntorch": "spike_grad", "norse": "activation"}
EVAL = "jit_eval_single_step_forward_hard_reset"  # SpikingJelly before 2.0: what runs in eval mode, without a gradient


def adapt(model: nn.Module) -> nn.Module:
    """`model` as a function of the image alone, for attacks and evaluations; its logits are its own, bit for bit.

    What the neurons of SpikingJelly (all that has a `reset`, as in its reset_net), snnTorch and Norse keep is forgotten
    before and after each call, and `view` exchanges their gradient paths. Any other model is returned as it is: state
    that is kept by hand stays. Neurons of SpikingJelly before 2.0, which have no gradient in eval mode, get their own.
    """
    return Foreign(model) if libraries(model) and not isinstance(model, Foreign) else model


def takes(path: GradientPath) -> TypeGuard[Slope | ASSG]:
    """Whether another library's neurons can answer along `path`: one that needs a step alone."""
    return isinstance(path, Slope | ASSG)


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
        _forget(self.network)
        try:
            with _differentiable(self.network):
                answer = self.network(x)
        finally:
            _forget(self.network)
        with_state = library_of(self.network) == "norse" and isinstance(answer, tuple)
        return answer[0] if with_state else answer

    def twin(self) -> "Foreign":
        """The same network over the same tensors, with modules, state and bound methods of its own."""
        shared: dict[int, Any] = {}
        for module in self.modules():
            shared[id(module._forward_hooks)] = OrderedDict()  # who listens to a model does not listen to its views
            shared |= {id(tensor): tensor for tensor in _tensors(vars(module))}
            if isinstance(module, ForeignSpike):
                shared[id(module.gradient)] = module.gradient.for_layer()  # with a memory of its own
        return copy.deepcopy(self, shared)


class ForeignSpike(nn.Module):
    """The spikes that a library's function `own` gives, exactly, answering backward along `path`."""

    def __init__(self, own: Callable[..., Tensor], path: Slope | ASSG) -> None:
        super().__init__()
        self.own = own
        self.gradient: Slope | AdaptiveSharpness = path.for_layer() if isinstance(path, ASSG) else path

    def forward(self, u: Tensor, *settings: Any) -> Tensor:
        with torch.no_grad():
            spikes = self.own(u, *settings)
        if not torch.is_grad_enabled():
            return spikes
        with torch.no_grad():
            slope = self.gradient.derivative(u)
        return as_answered(spikes, u * slope)

    def extra_repr(self) -> str:
        return f"gradient={self.gradient}"


class ForeignStep(nn.Module):
    """A Norse neuron's function `own` for one step, but for `threshold`, a global function where it stands."""

    def __init__(self, own: FunctionType, path: Slope | ASSG) -> None:
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


def libraries(model: nn.Module) -> list[str]:
    """The libraries that modules of `model` come from."""
    return sorted({library for module in model.modules() if (library := library_of(module))})


def library_of(module: nn.Module) -> str | None:
    """The library that `module` comes from."""
    roots = (kind.__module__.partition(".")[0] for kind in type(module).__mro__)
    return next((root for root in roots if root in SPIKES), None)


def exchange(module: nn.Module, path: GradientPath) -> None:
    """Make the neuron `module` of a view answer along `path`; any other module stays as it is."""
    if not fires(module) or not takes(path):
        return
    neuron: Any = module
    name = SPIKES[str(library_of(module))]
    own = getattr(neuron, name)
    own = own.own if isinstance(own, ForeignSpike | ForeignStep) else own
    if name != "activation":
        setattr(neuron, name, ForeignSpike(own, path))
    elif isinstance(own, FunctionType):
        setattr(neuron, name, ForeignStep(own, path))
    if getattr(neuron, "backend", "torch") != "torch":  # SpikingJelly before 2.0: its fused kernels know its own slopes
        neuron.backend = "torch"


def _tensors(kept: Any) -> Iterator[Tensor]:
    inside = kept.values() if isinstance(kept, dict) else kept if isinstance(kept, list | tuple) else ()
    yield from (kept,) if isinstance(kept, Tensor) else (tensor for value in inside for tensor in _tensors(value))


def fires(module: nn.Module) -> bool:
    """Whether `module` is a neuron of another library."""
    return callable(getattr(module, SPIKES.get(library_of(module) or "", ""), None))


def _forget(network: nn.Module) -> None:
    jelly = "spikingjelly" in libraries(network)
    module: Any
    for module in network.modules():
        if library_of(module) == "snntorch" and hasattr(module, "reset_mem"):
            module.reset_mem()
        elif jelly and callable(getattr(module, "reset", None)):
            memories: dict[str, Any] = vars(module).get("_memories", {})
            for name, value in memories.items():  # a reset may write into tensors that a gradient still needs
                memories[name] = value.detach().clone() if isinstance(value, Tensor) else value
            module.reset()


@contextmanager
def _differentiable(network: nn.Module) -> Iterator[None]:
    """Where gradients are taken, neurons that have none in eval mode compute the same as in training."""
    still = [module for module in network.modules() if not module.training] if torch.is_grad_enabled() else []
    cut = [module for module in still if hasattr(module, EVAL) or hasattr(module, f"{EVAL}_decay_input")]
    try:
        for module in cut:
            module.training = True
        yield
    finally:
        for module in cut:
            module.training = False

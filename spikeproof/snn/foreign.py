"""How does a network take part that SpikingJelly, snnTorch or Norse built? It forgets round each call; slopes change.

None of them is imported: a module belongs to a library if its class, or one that it derives from, is defined there.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from spikeproof.snn.gradients import GradientPath, Slope
from spikeproof.snn.paths import as_answered

__all__ = ["adapt", "can_follow"]

# by library, the attribute of a neuron that makes its spikes
SPIKES = {"spikingjelly": "surrogate_function", "snntorch": "spike_grad", "norse": "activation"}
EVAL = "jit_eval_single_step_forward_hard_reset"  # SpikingJelly before 2.0: what runs in eval mode, without a gradient


def adapt(model: nn.Module) -> nn.Module:
    """`model` as a function of the image alone, for attacks and evaluations; its logits are its own, bit for bit.

    What the neurons of SpikingJelly (all that has a `reset`, as in its reset_net), snnTorch and Norse keep is forgotten
    before and after each call, and `view` exchanges their slopes. Any other model is returned as it is: state that is
    kept by hand stays. Neurons of SpikingJelly before 2.0, which have no gradient in eval mode, get their own.
    """
    return Foreign(model) if libraries(model) and not isinstance(model, Foreign) else model


def can_follow(model: nn.Module, path: GradientPath) -> bool:
    """Whether a view of `model` can answer along `path`: another library's neurons take slopes alone."""
    return isinstance(path, Slope) or not any(map(_fires, model.modules()))


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
        return copy.deepcopy(self, shared)


class ForeignSpike(nn.Module):
    """The spikes that a library's function `own` gives, exactly, answering backward with the slope `gradient`."""

    def __init__(self, own: Callable[..., Tensor], gradient: Slope) -> None:
        super().__init__()
        self.own = own
        self.gradient = gradient

    def forward(self, u: Tensor, *settings: Any) -> Tensor:
        with torch.no_grad():
            spikes, slope = self.own(u, *settings), self.gradient.derivative(u)
        return as_answered(spikes, u * slope)

    def extra_repr(self) -> str:
        return f"gradient={self.gradient}"


def libraries(model: nn.Module) -> list[str]:
    """The libraries that modules of `model` come from."""
    return sorted({library for module in model.modules() if (library := library_of(module))})


def library_of(module: nn.Module) -> str | None:
    """The library that `module` comes from."""
    roots = (kind.__module__.partition(".")[0] for kind in type(module).__mro__)
    return next((root for root in roots if root in SPIKES), None)


def exchange(module: nn.Module, slope: Slope) -> None:
    """Make the neuron `module` of a view answer with `slope`; any other module stays as it is."""
    if not _fires(module):
        return
    neuron: Any = module
    name = SPIKES[str(library_of(module))]
    changed = _with_slope if name == "activation" else _exchanged
    setattr(neuron, name, changed(getattr(neuron, name), slope))
    if getattr(neuron, "backend", "torch") != "torch":  # SpikingJelly before 2.0: its fused kernels know its own slopes
        neuron.backend = "torch"


def _tensors(kept: Any) -> Iterator[Tensor]:
    inside = kept.values() if isinstance(kept, dict) else kept if isinstance(kept, list | tuple) else ()
    yield from (kept,) if isinstance(kept, Tensor) else (tensor for value in inside for tensor in _tensors(value))


def _fires(module: nn.Module) -> bool:
    return callable(getattr(module, SPIKES.get(library_of(module) or "", ""), None))


def _exchanged(own: Callable[..., Tensor], slope: Slope) -> ForeignSpike:
    return ForeignSpike(own.own if isinstance(own, ForeignSpike) else own, slope)


def _with_slope(step: Any, slope: Slope) -> Any:
    """A Norse neuron's function for one step, with another slope for `threshold`, a global function where it stands."""
    if not isinstance(step, FunctionType):
        return step
    around: dict[str, Any] = {}
    for name in set(step.__code__.co_names) & step.__globals__.keys():
        found = step.__globals__[name]
        if name == "threshold":
            around[name] = _exchanged(found, slope)
        elif isinstance(found, FunctionType) and found.__module__.startswith("norse."):
            around[name] = _with_slope(found, slope)
    same = (step.__name__, step.__defaults__, step.__closure__)
    return FunctionType(step.__code__, step.__globals__ | around, *same)


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

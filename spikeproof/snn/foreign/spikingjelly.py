"""SpikingJelly: whatever has a `reset` keeps state, and is reset as its `reset_net` does it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spikeproof.snn.foreign.library import Library
from spikeproof.snn.foreign.spikes import StepPath

EVAL = "jit_eval_single_step_forward_hard_reset"  # before 2.0: what runs in eval mode, without a gradient


class SpikingJelly(Library):
    """A neuron's `surrogate_function` makes its spikes."""

    package = "spikingjelly"
    spikes = "surrogate_function"

    def exchange(self, neuron: Any, path: StepPath) -> None:
        super().exchange(neuron, path)
        if getattr(neuron, "backend", "torch") != "torch":  # before 2.0: its fused kernels know its own slopes
            neuron.backend = "torch"
        if hasattr(neuron, "detach_reset"):
            neuron.detach_reset = path.detaches(neuron.detach_reset)

    def resets(self, neuron: nn.Module) -> bool:
        return getattr(neuron, "detach_reset", True) is False

    def forget(self, network: nn.Module) -> None:
        if not any(map(self.made, network.modules())):
            return
        module: Any
        for module in network.modules():
            if hasattr(module, "reset_mem") or not callable(getattr(module, "reset", None)):
                continue
            memories: dict[str, Any] = vars(module).get("_memories", {})
            for name, value in memories.items():  # a reset may write into tensors that a gradient still needs
                memories[name] = value.detach().clone() if isinstance(value, Tensor) else value
            module.reset()

    @contextmanager
    def differentiable(self, network: nn.Module) -> Iterator[None]:
        """Neurons that have no gradient in eval mode compute the same as in training, where gradients are taken."""
        still = [module for module in network.modules() if not module.training] if torch.is_grad_enabled() else []
        cut = [module for module in still if hasattr(module, EVAL) or hasattr(module, f"{EVAL}_decay_input")]
        try:
            for module in cut:
                module.training = True
            yield
        finally:
            for module in cut:
                module.training = False

"""Who takes part? Each contestant turns one of our networks into its own library's, with the same weights.

Convolutions, normalisation and pooling see time folded into the batch in every library, so that batch statistics, and
with them the network that is computed, are the same. (A network stepped through time layer by layer, as snnTorch's
tutorials do it, normalises each step by itself: another network, and a slower one.)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.goals import COMPILED, EAGER, OURS, SNNTORCH
from spikeproof.snn import LIF, SpikingNetwork, Triangle, attack_view, view
from spikeproof.snn.layers import MeanPool, PerStep
from spikeproof.snn.neurons import SpikingLayer

NEURON = LIF(leak=0.5)  # u = 0.5 v + x, s = [u >= 1], v = u (1 - s), triangle of width 1: everybody's


class Contestant(ABC):
    """`name` heads its row; it builds modules that need no reset by whoever calls them."""

    name: str

    @abstractmethod
    def layer(self, steps: int) -> nn.Module:
        """One layer of neurons ``[T, B, *n]`` -> ``[T, B, *n]``."""

    @abstractmethod
    def network(self, model: SpikingNetwork) -> nn.Module:
        """The network that `model` is, taking over its weights: images -> logits."""

    def attacked(self, model: SpikingNetwork) -> nn.Module:
        """The same as an attacker meets it: eval mode, nothing to train."""
        return self.network(model).eval().requires_grad_(False)


class Ours(Contestant):
    def __init__(self, name: str = OURS, *, channels_last: bool | None = None, detach_reset: bool = False) -> None:
        self.name = name
        self.channels_last = channels_last
        self.detach_reset = detach_reset

    def layer(self, steps: int) -> nn.Module:
        return LIF(leak=NEURON.leak, detach_reset=self.detach_reset).layer(steps)

    def network(self, model: SpikingNetwork) -> nn.Module:
        for module in model.modules():
            if isinstance(module, SpikingLayer):
                module.detach_reset = self.detach_reset
        if self.channels_last is not None:
            model.memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(memory_format=model.memory_format)

    def attacked(self, model: SpikingNetwork) -> nn.Module:
        attacked = attack_view(self.network(model))
        return attacked if self.detach_reset else view(attacked, gradient=Triangle(detach_reset=False))


class SpikingJelly(Contestant):
    """Version 2's multi-step mode; `backend` compiles the whole network, whose reset then stays outside."""

    def __init__(self, backend: str | None = None) -> None:
        self.name = COMPILED if backend else EAGER
        self.backend = backend

    def layer(self, steps: int) -> nn.Module:
        return _ResetBefore(self._neurons(), self.backend)

    def network(self, model: SpikingNetwork) -> nn.Module:
        from spikingjelly.activation_based.layer import SeqToANNContainer

        body = translate(model.body, SeqToANNContainer, self._neurons)
        return _ResetBefore(_Repeated(body, model.steps), self.backend)

    @staticmethod
    def _neurons() -> nn.Module:
        from spikingjelly.activation_based import neuron, surrogate

        triangle = surrogate.PiecewiseQuadratic(alpha=1.0)
        tau = 1 / (1 - NEURON.leak)
        return neuron.LIFNode(tau=tau, decay_input=False, v_reset=0.0, surrogate_function=triangle, step_mode="m")


class SnnTorch(Contestant):
    name = SNNTORCH

    def layer(self, steps: int) -> nn.Module:
        return _StepByStep()

    def network(self, model: SpikingNetwork) -> nn.Module:
        return _Repeated(translate(model.body, PerStep, _StepByStep), model.steps)


def contestants(backend: str = "inductor") -> list[Contestant]:
    """All that are compared; the first is the measure of the others."""
    return [SpikingJelly(), SpikingJelly(backend), SnnTorch(), Ours()]


def translate(body: nn.Module, per_step: Callable[..., nn.Module], neurons: Callable[[], nn.Module]) -> nn.Module:
    """A sequential `body` of ours with another library's containers and neurons around the same layers."""
    if isinstance(body, SpikingLayer):
        return neurons()
    if isinstance(body, PerStep):
        layers = [nn.AvgPool2d(2) if isinstance(layer, MeanPool) else layer for layer in body]
        foreign = [type(layer).__name__ for layer in layers if not type(layer).__module__.startswith("torch.")]
        if foreign:  # a layer that is faster than torch's is ours alone
            raise TypeError(f"tell the peers which layers of torch stand for {', '.join(foreign)}")
        return per_step(*layers).to(memory_format=torch.contiguous_format)
    if isinstance(body, nn.Sequential):
        return nn.Sequential(*(translate(child, per_step, neurons) for child in body))
    raise TypeError(f"the benchmarks know sequential bodies, not {type(body).__name__}")


class _Repeated(nn.Module):
    """Direct coding as both peers' tutorials write it: the image is repeated, the outputs are averaged."""

    def __init__(self, body: nn.Module, steps: int) -> None:
        super().__init__()
        self.body = body
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W] -> [B, K]
        return self.body(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)).mean(0)


class _ResetBefore(nn.Module):
    def __init__(self, net: nn.Module, backend: str | None) -> None:
        super().__init__()
        self.net = net
        self.run = torch.compile(net, backend=backend) if backend else net

    def forward(self, x: Tensor) -> Tensor:
        from spikingjelly.activation_based import functional

        functional.reset_net(self.net)
        return self.run(x)


class _StepByStep(nn.Module):
    """snnTorch's Leaky over a sequence. Its reset is detached: the same spikes, another gradient."""

    def __init__(self) -> None:
        import snntorch

        super().__init__()
        # `reset_mechanism="zero"` sets v to 0 at the next call; a triangle of ours, as snnTorch's own is none.
        self.neurons = snntorch.Leaky(beta=NEURON.leak, reset_mechanism="zero", spike_grad=_Triangle.apply)

    def forward(self, x: Tensor) -> Tensor:  # [T, B, *n] -> [T, B, *n]
        potential = torch.zeros_like(x[0])
        spikes = []
        for current in x:
            spike, potential = self.neurons(current, potential)
            spikes.append(spike)
        return torch.stack(spikes)


class _Triangle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return grads[0] * (1 - u.abs()).clamp_(min=0)

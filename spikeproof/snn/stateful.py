"""Which neurons keep more from step to step than a potential? Each writes its equations down in one class.

They run by the readable reference: there is no fused kernel for them.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from spikeproof.choices import NonNegative, Share, UserError, Within, short
from spikeproof.snn.dynamics import Dynamics, State
from spikeproof.snn.neurons import SpikingLayer, SpikingNeuron, scalar

__all__ = ["AdaptiveLIF", "StatefulNeuron", "SynapticLIF"]


@dataclass(frozen=True, kw_only=True)
class StatefulNeuron(SpikingNeuron):
    """A neuron with states beside its potential, all zero before the first step.

    A state is ``(potential, ...)``, tensors ``[B, *n]``. The potential's reset is done for it.
    """

    beside: ClassVar[int] = 1  # how many states there are beside the potential

    @abstractmethod
    def charged(self, state: State, current: Tensor) -> State:
        """The state before the spike, once `current` has come."""

    def level(self, state: State, threshold: Tensor) -> Tensor:
        """What the potential is held against, in this state."""
        return threshold

    def fired(self, state: State, spike: Tensor) -> State:
        """The state after the spikes, but for the potential's reset."""
        return state

    def lasting(self, x: Tensor) -> Tensor:
        """The current that reaches the potential in a step, once a current `x` has lasted."""
        return x

    def layer(self, steps: int) -> nn.Module:
        return StatefulLayer(self, steps)


@dataclass(frozen=True, kw_only=True)
class SynapticLIF(StatefulNeuron):
    """LIF behind a synapse whose current fades: i[t] = synapse_leak i[t-1] + x[t], u[t] = leak v[t-1] + i[t].

    The current is not reset. Source: snnTorch's Synaptic (alpha is `synapse_leak`, beta is `leak`).
    """

    leak: Share = 0.5
    synapse_leak: Annotated[float, Within(0, 1, "[)")] = 0.5

    def charged(self, state: State, current: Tensor) -> State:
        v, i = state
        i = self.synapse_leak * i + current
        return self.leak * v + i, i

    def lasting(self, x: Tensor) -> Tensor:
        return x / (1 - self.synapse_leak)


@dataclass(frozen=True, kw_only=True)
class AdaptiveLIF(StatefulNeuron):
    """LIF whose threshold rises with its own spikes: threshold + strength a[t], a[t] = decay a[t-1] + s[t-1].

    A soft reset subtracts the risen threshold. Source: Bellec et al., NeurIPS 2018, where spikes enter a[t] with a
    factor of 1 - decay: their beta is strength / (1 - decay).
    """

    leak: Share = 0.5
    strength: NonNegative = 0.2
    decay: Share = 0.9

    def charged(self, state: State, current: Tensor) -> State:
        v, a = state
        return self.leak * v + current, a

    def level(self, state: State, threshold: Tensor) -> Tensor:
        return threshold + self.strength * state[1]

    def fired(self, state: State, spike: Tensor) -> State:
        u, a = state
        return u, self.decay * a + spike


@dataclass(frozen=True, eq=False)
class Equations(Dynamics):
    """The equations of a neuron, with its layer's threshold."""

    neuron: StatefulNeuron
    threshold: Tensor
    hard_reset: bool
    detach_reset: bool

    def start(self, like: Tensor) -> State:
        zero = torch.zeros_like(like)
        charged = self.neuron.charge * self.threshold
        return zero + charged.to(zero.dtype), *(zero for _ in range(self.neuron.beside))

    def charge(self, state: State, current: Tensor) -> State:
        return self.neuron.charged(state, current)

    def held(self) -> "Equations":
        return replace(self, threshold=self.threshold.detach())

    def level(self, state: State) -> Tensor:
        return self.neuron.level(state, self.threshold)

    def reset(self, state: State, spike: Tensor) -> State:
        potential, *_ = super().reset(state, spike)
        _, *others = self.neuron.fired(state, spike)
        return potential, *others


class StatefulLayer(SpikingLayer):
    """A layer of neurons that write down their own equations."""

    def __init__(self, neuron: StatefulNeuron, steps: int) -> None:
        super().__init__(neuron, steps)
        self.neuron = neuron
        self.threshold = scalar(neuron.threshold, neuron.learn_threshold)
        if not self.gradient.follows(self.dynamics()):
            raise UserError(
                f"{short(self.gradient)} is derived for leaky integrate-and-fire neurons: give {type(neuron).__name__} "
                "another gradient, Triangle for example"
            )

    def dynamics(self) -> Equations:
        return Equations(self.neuron, self.level(), self.hard_reset, self.gradient.detaches(self.detach_reset))

    def lasting(self, x: Tensor) -> Tensor:
        return self.neuron.lasting(x)

    def extra_repr(self) -> str:
        return f"{short(self.neuron)}, {super().extra_repr()}"

"""What does a spiking neuron compute? The readable reference over a whole sequence, in plain PyTorch.

Every step charges the state with a current, fires where the potential reaches the threshold, and resets. A leaky
integrate-and-fire neuron (`Leaky`) does it so:

    u[t] = leak * v[t-1] + x[t]          potential before the spike
    s[t] = 1[u[t] >= threshold]          spike
    v[t] = u[t] (1 - s[t])               hard reset, or
    v[t] = u[t] - threshold * s[t]       soft reset

`spikeproof.snn.kernels` computes the same for `Leaky`, fused. A test holds the two equal in value and gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""What neurons keep from step to step, each ``[B, *n]``; the first is the potential."""


class Derivative(Protocol):
    """Anything that gives the surrogate derivative ds/du of a spike at ``u = potential - threshold``."""

    def derivative(self, u: Tensor) -> Tensor: ...


class Dynamics(ABC):
    """How the neurons of one layer integrate and reset; `threshold` is a scalar tensor, learned or not.

    `detach_reset` keeps the gradient from flowing through the reset.
    """

    threshold: Tensor
    hard_reset: bool
    detach_reset: bool

    @abstractmethod
    def charge(self, state: State, current: Tensor) -> State:
        """The state before the spike, once `current` ``[B, *n]`` has come."""

    def start(self, like: Tensor) -> State:
        """The state before the first step, in the shape of `like` ``[B, *n]``."""
        return (torch.zeros_like(like),)

    def level(self, state: State) -> Tensor:
        """The threshold that the potential of this state is held against."""
        return self.threshold

    def reset(self, state: State, spike: Tensor) -> State:
        """The state after the spikes ``[B, *n]``: the potential is reset."""
        u, *rest = state
        fired = spike.detach() if self.detach_reset else spike
        return (u * (1 - fired) if self.hard_reset else u - self.level(state) * fired, *rest)

    @abstractmethod
    def held(self) -> "Dynamics":
        """The same with constants that get no gradient."""


@dataclass(frozen=True, eq=False)
class Leaky(Dynamics):
    """Leaky integrate-and-fire, `leak` a scalar tensor: IF, LIF, PLIF and DLIF."""

    leak: Tensor
    threshold: Tensor
    hard_reset: bool = True
    detach_reset: bool = False

    def charge(self, state: State, current: Tensor) -> State:
        return (self.leak * state[0] + current,)

    def held(self) -> "Leaky":
        return replace(self, leak=self.leak.detach(), threshold=self.threshold.detach())


class Trace(NamedTuple):
    """What the reference returns: spikes, potentials and their distances from the threshold ``[T, ...]``, before the
    reset, and the last state, after its reset."""

    spikes: Tensor
    potentials: Tensor
    distances: Tensor
    last: State


class _Spike(torch.autograd.Function):
    """1[u >= 0] whose derivative is the slope's; the backward is itself differentiable."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: Derivative) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.slope.derivative(u), None


def fired(distance: Tensor, slope: Derivative) -> Tensor:
    """1 where `distance` from the threshold is 0 or more, 0 elsewhere, with the slope's derivative."""
    spikes: Tensor = _Spike.apply(distance, slope)
    return spikes


def integrate(
    x: Tensor, dynamics: Dynamics, slope: Derivative | Sequence[Derivative], state: State | None = None
) -> Trace:
    """Spikes for the currents `x` ``[T, ...]``, starting from `state` (a potential of zero where not given).

    `slope` is one for all steps, or one a step. Differentiable as often as the slope is. Feeding ``Trace.last`` back
    as `state` continues a stream exactly.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    state = dynamics.start(x[0].to(wide)) if state is None else tuple(v.to(wide) for v in state)
    slopes = slope if isinstance(slope, Sequence) else [slope] * len(x)
    spikes, potentials, distances = [], [], []
    for current, of_step in zip(x.to(wide), slopes, strict=True):
        state = dynamics.charge(state, current)
        distance = state[0] - dynamics.level(state)
        s = fired(distance, of_step)
        spikes.append(s)
        potentials.append(state[0])
        distances.append(distance)
        state = dynamics.reset(state, s)
    return Trace(torch.stack(spikes).to(x.dtype), torch.stack(potentials), torch.stack(distances), state)

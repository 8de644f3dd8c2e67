"""Which neurons are there? Each is a choice that builds layers; a layer keeps no state between calls.

A layer maps currents ``[T, B, *n]`` to spikes ``[T, B, *n]``. Currents ``[1, B, *n]`` are constant in time. Every call
starts at rest, so there is nothing to reset.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from spikeproof.choices import Choice, Count, Positive, Share, UserError, Within
from spikeproof.snn.dynamics import Dynamics, Leaky
from spikeproof.snn.gradients import GradientPath, Triangle

__all__ = ["DLIF", "IF", "LIF", "PLIF", "QCFS", "Activation", "GradedIF", "Neuron", "ReLU"]

THRESHOLD_FLOOR = 0.03  # a learned threshold never falls below this


class Neuron(Choice):
    """A kind of neuron; `layer` builds one layer of it."""

    @abstractmethod
    def layer(self, steps: int) -> nn.Module:
        """One layer for `steps` time steps, with parameters of its own."""


@dataclass(frozen=True, kw_only=True)
class SpikingNeuron(Neuron):
    """What all integrate-and-fire neurons share.

    `threshold` is positive, one scalar a layer; a learned one never falls below 0.03. The reset is "hard" (to 0) or
    "soft" (by the threshold). `detach_reset` keeps the gradient of training from flowing through the reset, as snnTorch
    does; attacks keep it from that in any case, unless their path says otherwise. `charge` is the potential before the
    first step, as a share of the threshold.

    With `two_phases` a layer first takes in the currents of all steps, and fires then: its neurons see their mean at
    every step, so the order in which spikes arrive does not matter, nor that of event frames. A network of L such
    layers takes L times as many steps on hardware, one layer after another. Source of the phases: Bojkovic et al., ICML
    2025, arXiv 2502.14487, where neurons fire at random in the second one.
    """

    threshold: Positive = 1.0
    learn_threshold: bool = False
    reset: Literal["hard", "soft"] = "hard"
    detach_reset: bool = False
    charge: Annotated[float, Within(0, 1, "[)")] = 0.0
    two_phases: bool = False
    gradient: GradientPath = Triangle()


@dataclass(frozen=True, kw_only=True)
class IF(SpikingNeuron):
    """Integrate-and-fire: a leak of 1, nothing is forgotten until the reset."""

    def layer(self, steps: int) -> nn.Module:
        return LeakyLayer(self, steps, leak=1.0)


@dataclass(frozen=True, kw_only=True)
class LIF(SpikingNeuron):
    """Leaky integrate-and-fire with a fixed leak in [0, 1]; the input is not scaled by 1 - leak."""

    leak: Share = 0.5

    def layer(self, steps: int) -> nn.Module:
        return LeakyLayer(self, steps, leak=self.leak)


@dataclass(frozen=True, kw_only=True)
class PLIF(SpikingNeuron):
    """Parametric LIF: each layer learns its leak, which starts at `leak` and is the sigmoid of a free parameter.

    Source: Fang et al., ICCV 2021. There the input is scaled by 1 - leak; here it is not.
    """

    leak: Annotated[float, Within(0, 1, "()")] = 0.5

    def layer(self, steps: int) -> nn.Module:
        return LeakyLayer(self, steps, leak=self.leak, learn_leak=True)


@dataclass(frozen=True, kw_only=True)
class DLIF(SpikingNeuron):
    """Dynamic LIF: each layer learns a gain p[t] for the currents of each step, u[t] = leak v[t-1] + p[t] x[t].

    The gains start at 1 and are shared by all neurons of the layer. Source: Ding et al., ICML 2024,
    arXiv 2405.20694, whose leak of 0.99 is the default.
    """

    leak: Share = 0.99

    def layer(self, steps: int) -> nn.Module:
        return LeakyLayer(self, steps, leak=self.leak, learn_gain=True)


@dataclass(frozen=True, kw_only=True)
class GradedIF(SpikingNeuron):
    """IF whose spikes weigh their layer's threshold: their mean over time stands for an ANN's activation.

    Weight balancing does the same by multiplying the next layer's weights, which a sum of two branches does not allow.
    Potentials and the slope's width are in units of the threshold. Converted thresholds lie far from 1, where a slope
    of fixed width would hide most gradients. Source: Diehl et al., IJCNN 2015; soft reset: Rueckauer et al., 2017.
    """

    reset: Literal["hard", "soft"] = "soft"

    def layer(self, steps: int) -> nn.Module:
        fire = LeakyLayer(replace(self, threshold=1.0, learn_threshold=False), steps, leak=1.0)
        return GradedLayer(fire, self.threshold, self.learn_threshold)


class Activation(Neuron):
    """No neuron but the unit of an ANN; a network of them sees one time step."""


@dataclass(frozen=True, kw_only=True)
class ReLU(Activation):
    """max(0, x): the same architecture as an ANN."""

    def layer(self, steps: int) -> nn.Module:
        return nn.ReLU()


@dataclass(frozen=True, kw_only=True)
class QCFS(Activation):
    """Quantised clip-floor-shift: bound * clip(floor(x L / bound + 1/2) / L, 0, 1) with L = `levels`.

    The bound is learned, one scalar a layer that starts at `bound`. The floor's gradient passes straight through. An IF
    neuron with a soft reset, this threshold and a charge of 1/2 has the same mean output after L steps of a constant
    current. Source: Bu et al., ICLR 2022.
    """

    levels: Count = 4
    bound: Positive = 8.0

    def layer(self, steps: int) -> nn.Module:
        return ClipFloorShift(self.levels, self.bound)


class SpikingLayer(nn.Module, ABC):
    """A layer of spiking neurons with one threshold; `gradient` says how it answers backward.

    All that views, recordings, flags and conversions ask of a layer is here; a kind of layer adds its constants.
    """

    threshold: Tensor

    def __init__(self, neuron: SpikingNeuron, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.hard_reset = neuron.reset == "hard"
        self.detach_reset = neuron.detach_reset
        self.charge = neuron.charge
        self.two_phases = neuron.two_phases
        self.gradient = neuron.gradient
        self.learn_threshold = neuron.learn_threshold

    @abstractmethod
    def dynamics(self) -> Dynamics:
        """How the neurons integrate and reset, with the constants as they are now."""

    def lasting(self, x: Tensor) -> Tensor:
        """The current that reaches the potential in a step, once a current `x` has lasted."""
        return x

    def level(self) -> Tensor:
        """The threshold as it is now; a learned one is floored."""
        return self.threshold.clamp(min=THRESHOLD_FLOOR) if self.learn_threshold else self.threshold

    def forward(self, x: Tensor) -> Tensor:  # [T or 1, B, *n] -> [T, B, *n]
        self.check(x)
        return self.gradient.spikes(self.amplified(x), self.dynamics(), self.steps)

    def pooled(self, x: Tensor) -> Tensor:
        """The layer and 2x2 mean pooling: ``[T or 1, B, C, H, W]`` -> ``[T, B, C, H // 2, W // 2]``."""
        self.check(x)
        return self.gradient.pooled(self.amplified(x), self.dynamics(), self.steps)

    def check(self, x: Tensor) -> None:
        """Raises `UserError` where `x` has another number of steps."""
        if x.shape[0] not in (1, self.steps):
            raise UserError(f"the layer was built for {self.steps} time steps, the input has {x.shape[0]}")

    def collected(self, x: Tensor) -> Tensor:
        """What reaches the neurons of currents ``[T or 1, B, *n]``: of two phases the mean over time ``[1, B, *n]``."""
        return x.mean(0, keepdim=True) if self.two_phases else x

    def amplified(self, x: Tensor) -> Tensor:
        """The currents as the neurons see them."""
        return self.collected(x)

    def extra_repr(self) -> str:
        reset = ("hard" if self.hard_reset else "soft") + (", detached" if self.detach_reset else "")
        phases = ", two phases" * self.two_phases
        return f"steps={self.steps}, reset={reset}, charge={self.charge}{phases}, gradient={self.gradient}"


class LeakyLayer(SpikingLayer):
    """Leaky neurons with one leak, learned or not, and, for DLIF, a gain for each step."""

    def __init__(
        self, neuron: SpikingNeuron, steps: int, *, leak: float, learn_leak: bool = False, learn_gain: bool = False
    ) -> None:
        super().__init__(neuron, steps)
        self.learn_leak = learn_leak
        self.leak = scalar(math.log(leak / (1 - leak)) if learn_leak else leak, learn_leak)
        self.threshold = scalar(neuron.threshold, neuron.learn_threshold)
        self.gain = nn.Parameter(torch.ones(steps)) if learn_gain else None

    def dynamics(self) -> Leaky:
        """The constants as they are now: a learned leak is a sigmoid's value."""
        leak = torch.sigmoid(self.leak) if self.learn_leak else self.leak
        return Leaky(leak, self.level(), self.hard_reset, self.gradient.detaches(self.detach_reset))

    def lasting(self, x: Tensor) -> Tensor:
        return x if self.gain is None else self.gain.mean() * x

    def amplified(self, x: Tensor) -> Tensor:
        """The currents as the neurons see them: times the gain of each step, plus what a charge leaves."""
        x = super().amplified(x)
        if self.gain is not None:
            if len(self.gain) != self.steps:
                raise UserError(f"the layer learned gains for {len(self.gain)} time steps and cannot run {self.steps}")
            x = self.gain.view(-1, *[1] * (x.ndim - 1)) * x  # [T, B, *n], whether or not x is constant in time
        if self.charge:
            left = self.dynamics().leak * self.charge * self.level()
            first = torch.cat([left.view(1), left.new_zeros(self.steps - 1)])
            x = x + first.to(x.dtype).view(-1, *[1] * (x.ndim - 1))  # a sum keeps the layout of `x`
        return x


class RateLayer(nn.Module):
    """The unit of an ANN in the place of a layer of neurons: their rate under a constant current, without a leak.

    Threshold and mean gain are the layer's. Where `clipped`, the rate is cut to [0, 1] and rounded to one of the steps.
    """

    def __init__(self, layer: SpikingLayer, clipped: bool) -> None:
        super().__init__()
        self.layer = layer
        self.clipped = clipped

    def forward(self, x: Tensor) -> Tensor:
        rate = (self.layer.lasting(x) / self.layer.level()).clamp(min=0)
        if not self.clipped:
            return rate
        rate = rate.clamp(max=1)
        rounded = (rate * self.layer.steps + 0.5).floor() / self.layer.steps
        return rate + (rounded - rate).detach()


class GradedLayer(nn.Module):
    """The layer of `GradedIF`: `fire` sees currents in units of the threshold, and its spikes weigh one threshold."""

    def __init__(self, fire: SpikingLayer, threshold: float, learned: bool) -> None:
        super().__init__()
        self.fire = fire
        self.learn_threshold = learned
        self.threshold = scalar(threshold, learned)

    def level(self) -> Tensor:
        """The threshold as it is now; a learned one is floored."""
        return self.threshold.clamp(min=THRESHOLD_FLOOR) if self.learn_threshold else self.threshold

    def forward(self, x: Tensor) -> Tensor:
        threshold = self.level()
        return self.fire(x / threshold) * threshold


class ClipFloorShift(nn.Module):
    """The layer of `QCFS`."""

    def __init__(self, levels: int, bound: float) -> None:
        super().__init__()
        self.levels = levels
        self.bound = nn.Parameter(torch.tensor(float(bound)))

    def learned_bound(self) -> Tensor:
        """The bound as it is used, which is floored as a threshold is."""
        return self.bound.clamp(min=THRESHOLD_FLOOR)

    def forward(self, x: Tensor) -> Tensor:
        bound = self.learned_bound()
        wide = torch.promote_types(x.dtype, torch.float32)  # bfloat16 would blur the levels
        clipped = (x.to(wide) / bound).clamp(0, 1)
        floored = (clipped * self.levels + 0.5).floor() / self.levels
        return (bound * (clipped + (floored - clipped).detach())).to(x.dtype)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


ACTIVATIONS = (nn.ReLU, ClipFloorShift)  # the layers of an ANN's units


def neuron_layers(model: nn.Module) -> dict[str, SpikingLayer]:
    """The layers of spiking neurons of `model`, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, SpikingLayer)}


def is_neuron(module: nn.Module) -> bool:
    """Whether `module` is a layer of neurons, or of an ANN's units."""
    return isinstance(module, (SpikingLayer, GradedLayer, *ACTIVATIONS))


def scalar(value: float, learned: bool) -> nn.Parameter | nn.Buffer:
    """One number as a layer keeps it."""
    tensor = torch.tensor(float(value))
    return nn.Parameter(tensor) if learned else nn.Buffer(tensor)

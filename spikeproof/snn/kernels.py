"""How is `spikeproof.snn.dynamics` computed fast? One fused pass over the whole sequence.

Time is unrolled inside one loop over neurons, so potentials live in registers. The forward reads the currents and
writes the spikes. The backward has saved the currents alone: it computes the potentials again, and runs the recursion
in reverse. `torch.compile` turns both into one kernel each (see `compiling`). The same two functions run eagerly where
there is no C++ compiler, and where the work is too small or too long to unroll.

Where 2x2 pixels are averaged after the spikes, the forward writes the means alone.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from spikeproof.snn.compiling import run, worthwhile
from spikeproof.snn.dynamics import Derivative, Dynamics, Leaky, integrate
from spikeproof.snn.layers import mean_pool, spread


class Sharpened(Protocol):
    """A slope that every neuron has of its own sharpness, at every step."""

    def derivative(self, u: Tensor, sharpness: Tensor) -> Tensor: ...


class Setup(NamedTuple):
    """What a forward needs to know; all slopes share one forward kernel."""

    steps: int
    constant: bool  # the same current at every step, x [N]; its gradient is summed over time in the kernel
    hard_reset: bool
    pooled: bool = False  # x is [T, A, 2, W, 2, C], and spikes are averaged over both 2


class Plan(NamedTuple):
    """What a backward needs to know beside; equal plans share one kernel."""

    setup: Setup
    slope: Derivative | Sharpened
    detach_reset: bool
    learned: bool  # whether leak and threshold want gradients


def spikes_of(
    x: Tensor, dynamics: Dynamics, slope: Derivative | Sharpened, steps: int, sharpness: Tensor | None = None
) -> Tensor:
    """Spikes ``[steps, B, *n]`` of currents `x` ``[steps or 1, B, *n]``: fused for `Leaky`, by the reference else.

    `sharpness`, like the spikes, is for a slope that every neuron has of its own.
    """
    if isinstance(dynamics, Leaky):
        return fused_spikes(x, dynamics, slope, steps, sharpness)
    return integrate(x.expand(steps, *x.shape[1:]), dynamics, _slopes(slope, sharpness)).spikes


def pooled_spikes(
    x: Tensor, dynamics: Dynamics, slope: Derivative | Sharpened, steps: int, sharpness: Tensor | None = None
) -> Tensor:
    """`spikes_of` currents ``[steps or 1, B, C, H, W]``, averaged over 2x2 pixels: ``[steps, B, C, H // 2, W // 2]``.

    One kernel where that pays; `spikes_of` and `mean_pool` else.
    """
    if isinstance(dynamics, Leaky) and _even(x) and _worthwhile(x, steps):
        return fused_spikes(x, dynamics, slope, steps, sharpness, pooled=True)
    return mean_pool(spikes_of(x, dynamics, slope, steps, sharpness))


def fused_spikes(
    x: Tensor,
    dynamics: Leaky,
    slope: Derivative | Sharpened,
    steps: int,
    sharpness: Tensor | None = None,
    *,
    pooled: bool = False,
) -> Tensor:
    """`spikes_of` leaky neurons, or `pooled_spikes` of them; equal to `integrate` in every way.

    A leading 1 (with ``steps > 1``) means a current that is constant in time. Keeps the memory layout of `x`.
    """
    order = Order.of(x)
    order = order.for_pooling() if pooled else order
    rows, shape = (
        order.rows(x, pooled),
        (x.shape if not pooled else (*x.shape[:-2], x.shape[-2] // 2, x.shape[-1] // 2)),
    )
    own = None if sharpness is None else order.rows(sharpness, pooled)
    constant = x.shape[0] == 1 and steps > 1
    learned = dynamics.leak.requires_grad or dynamics.threshold.requires_grad
    plan = Plan(Setup(steps, constant, dynamics.hard_reset, pooled), slope, dynamics.detach_reset, learned)
    spikes = _Fused.apply(rows[0] if constant else rows, dynamics.leak, dynamics.threshold, own, plan)
    return order.back(spikes.flatten(1), shape)


def _even(x: Tensor) -> bool:
    return x.ndim == 5 and x.shape[-2] % 2 == 0 and x.shape[-1] % 2 == 0


def _worthwhile(x: Tensor, steps: int) -> bool:
    """Of currents `x` ``[steps or 1, ...]``."""
    return worthwhile(x[0].numel() * steps, steps, x.device.type)


HALF = (torch.float16, torch.bfloat16)  # currents of fewer bits than potentials have
CONTIGUOUS, CHANNELS_LAST = (0, 1, 2, 3, 4), (0, 1, 3, 4, 2)  # of [T, B, C, H, W], outermost first


class Order(NamedTuple):
    """In which order tensors ``[T, B, *n]`` are made rows ``[T, N]``: that of their memory, so that none is copied."""

    dims: tuple[int, ...]

    @staticmethod
    def of(x: Tensor) -> "Order":
        """The order of `x` in memory."""
        return Order((0, *sorted(range(1, x.ndim), key=x.stride, reverse=True)))

    def for_pooling(self) -> "Order":
        """This order, or that of contiguous memory where it is neither that nor channels_last."""
        return self if self.dims == CHANNELS_LAST else Order(CONTIGUOUS)

    def flat(self, x: Tensor) -> Tensor:
        """`x` ``[T, B, *n]`` as rows ``[T, N]``."""
        return x.permute(self.dims).reshape(len(x), -1)

    def rows(self, x: Tensor, pooled: bool) -> Tensor:
        """`flat`, or where `pooled` as ``[T, A, 2, W // 2, 2, C]``: all neighbours that are averaged have axes."""
        if not pooled:
            return self.flat(x)
        return self.flat(x).view(len(x), -1, 2, x.shape[-1] // 2, 2, x.shape[2] if self.dims == CHANNELS_LAST else 1)

    def back(self, flat: Tensor, shape: Sequence[int]) -> Tensor:
        """Rows ``[T, N]`` as ``[T, B, *n]``, B and n as in `shape`."""
        places = [self.dims.index(d) for d in range(len(self.dims))]
        return flat.view(len(flat), *(shape[d] for d in self.dims[1:])).permute(places)


def sharpened(
    x: Tensor, dynamics: Dynamics, steps: int, means: Tensor, deviations: Tensor, scale: Tensor
) -> tuple[Tensor, ...]:
    """Of every neuron after the currents `x` ``[steps or 1, B, *n]``, for `ASSG`: sharpness, means - 1, deviations.

    All are ``[steps, B, *n]``, `means` counted from 1 too; `scale` [] is what the sharpness is a share of.
    """
    if not isinstance(dynamics, Leaky):
        distances = integrate(x.expand(steps, *x.shape[1:]), dynamics, _Silent()).distances
        return _learned(distances, means, deviations, scale)
    order = Order.of(x)
    constant = x.shape[0] == 1 and steps > 1
    setup = Setup(steps, constant, dynamics.hard_reset)
    flat = order.flat(x)
    rest = (dynamics.leak, dynamics.threshold, order.flat(means), order.flat(deviations), scale)
    tensors = (flat[0] if constant else flat, *rest)
    found = run(_sharpen, setup, *tensors, compiled=_worthwhile(x, steps))
    return tuple(order.back(each, x.shape) for each in found)


def sharpness_of(mean: Tensor, deviation: Tensor, scale: Tensor) -> Tensor:
    """The sharpness of a neuron with these running means, `mean` counted from 1."""
    return scale / (1 + mean + 1.5 * deviation + 1e-4)


def _learned(distance: Tensor, mean: Tensor, deviation: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    away = distance.abs() - 1
    mean = 0.9 * mean + 0.1 * away
    deviation = 0.9 * deviation + 0.1 * (away - mean).abs()
    return sharpness_of(mean, deviation, scale), mean, deviation


def _sharpen(
    setup: Setup, x: Tensor, leak: Tensor, threshold: Tensor, means: Tensor, deviations: Tensor, scale: Tensor
) -> tuple[Tensor, ...]:
    moments = course(_currents(setup, x), leak, threshold, setup.hard_reset)
    found = [_learned(at.u - threshold, means[t], deviations[t], scale) for t, at in enumerate(moments)]
    return tuple(torch.stack(each) for each in zip(*found, strict=True))


class _Fused(torch.autograd.Function):
    """x [T, N] (or [N] where constant), leak [], threshold [], sharpness [T, N] or None -> spikes [T, N].

    For N stands [A, 2, W, 2, C] where pooled; the spikes are then [T, A, W, C].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, leak: Tensor, threshold: Tensor, sharpness: Tensor | None, plan: Plan) -> Tensor:
        ctx.save_for_backward(x, leak, threshold, sharpness)
        ctx.plan = plan
        return run(_forward, plan.setup, x, leak, threshold, compiled=_pays(plan.setup, x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, leak, threshold, sharpness = ctx.saved_tensors
        plan = ctx.plan
        if torch.is_grad_enabled():  # a second derivative is wanted, which only the reference has
            return _differentiable_backward(grads[0], x, leak, threshold, sharpness, plan)
        compiled, shape = _pays(plan.setup, x), x.shape
        grad = grads[0]
        own: tuple[Tensor, ...] = () if sharpness is None else (sharpness,)
        if plan.setup.pooled:  # not in the kernel: on a CPU, inductor would write all potentials to memory
            x, grad, own = _unpooled(plan.setup, x, grad, *own)
            plan = plan._replace(setup=plan.setup._replace(pooled=False))
        tensors = (x, leak, threshold, grad.contiguous(), *own)
        to_x, *to_constants = run(_backward, plan, *tensors, compiled=compiled)
        to_leak, to_threshold = (each.sum().to(leak.dtype) for each in to_constants) if plan.learned else (None, None)
        return to_x.view(shape), to_leak, to_threshold, None, None


def _pays(setup: Setup, x: Tensor) -> bool:
    return worthwhile(x.numel() * (setup.steps if setup.constant else 1), setup.steps, x.device.type)


def _unpooled(setup: Setup, x: Tensor, grad: Tensor, *own: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Currents, gradient and sharpness as [T, N]; from [T, A, 2, W, 2, C], and [T, A, W, C] for the gradient."""
    fine = spread(grad, (-3, -2)).flatten(1)
    return x.flatten() if setup.constant else x.flatten(1), fine, tuple(each.flatten(1) for each in own)


def _differentiable_backward(
    grad: Tensor, x: Tensor, leak: Tensor, threshold: Tensor, sharpness: Tensor | None, plan: Plan
) -> tuple[Tensor | None, ...]:
    inputs = [t for t in (x, leak, threshold) if t.requires_grad]
    with torch.enable_grad():
        setup = plan.setup
        currents = x.expand(setup.steps, *x.shape) if setup.constant else x
        dynamics = Leaky(leak, threshold, setup.hard_reset, plan.detach_reset)
        spikes = integrate(currents, dynamics, _slopes(plan.slope, sharpness)).spikes
        spikes = spikes.mean((2, 4)) if setup.pooled else spikes
        found = iter(torch.autograd.grad(spikes, inputs, grad, create_graph=True, materialize_grads=True))
    return *(next(found) if t.requires_grad else None for t in (x, leak, threshold)), None, None


def _slopes(slope: Any, sharpness: Tensor | None) -> Any:
    """One slope for all steps, or one a step where every neuron has its own."""
    return slope if sharpness is None else [_OfStep(slope, of_step) for of_step in sharpness]


class _Silent:
    """The slope of spikes that answer nothing backward."""

    def derivative(self, u: Tensor) -> Tensor:
        return torch.zeros_like(u)


@dataclass(frozen=True, eq=False)
class _OfStep:
    """A slope with the sharpness that the neurons have at one step."""

    slope: Sharpened
    sharpness: Tensor

    def derivative(self, u: Tensor) -> Tensor:
        return self.slope.derivative(u, self.sharpness)


class Moment(NamedTuple):
    """One step of some neurons: the potential, whether it fired, and what the step before had left (None: rest)."""

    u: Tensor
    fired: Tensor
    before: Tensor | None


def course(currents: Sequence[Tensor], leak: Tensor, threshold: Tensor, hard_reset: bool) -> list[Moment]:
    """What the neurons do under these currents, one a step, of at least float32."""
    moments: list[Moment] = []
    v = None
    for t, current in enumerate(currents):
        u = current if v is None else (leak * v).add_(current)
        fired = u >= threshold
        moments.append(Moment(u, fired, v))
        if t + 1 < len(currents):  # nobody asks for what stays after the last step
            v = u.masked_fill(fired, 0) if hard_reset else torch.where(fired, u - threshold, u)
    return moments


def wide(x: Tensor) -> Tensor:
    """`x` in the type of potentials: at least float32."""
    return x.float() if x.dtype in HALF else x


def _currents(setup: Setup, x: Tensor) -> list[Tensor]:
    return [wide(x if setup.constant else x[t]) for t in range(setup.steps)]


def _forward(setup: Setup, x: Tensor, leak: Tensor, threshold: Tensor) -> Tensor:
    corners = [x[..., i, :, j, :] for i in (0, 1) for j in (0, 1)] if setup.pooled else [x]
    courses = [course(_currents(setup, corner), leak, threshold, setup.hard_reset) for corner in corners]
    spikes = [[moment.fired.to(x.dtype) for moment in moments] for moments in zip(*courses, strict=True)]
    return torch.stack([functools.reduce(torch.add, each) / 4 if setup.pooled else each[0] for each in spikes])


def _backward(plan: Plan, x: Tensor, leak: Tensor, threshold: Tensor, grad: Tensor, *own: Tensor) -> tuple[Tensor, ...]:
    """The gradient on x and, where learned, per neuron on leak and threshold [N], given one on the spikes [T, N]."""
    moments = course(_currents(plan.setup, x), leak, threshold, plan.setup.hard_reset)
    grads = [g.to(moments[0].u.dtype) for g in grad]
    to_x, *to_constants = answer(plan, moments, grads, leak, threshold, *own)
    return gathered(to_x, x, plan.setup.constant), *to_constants


def gathered(of_steps: list[Tensor], like: Tensor, constant: bool) -> Tensor:
    """One tensor of those of all steps, in the type of `like`; their sum where `constant`."""
    if constant:
        return functools.reduce(torch.add, of_steps[::-1]).to(like.dtype)
    return torch.stack([each.to(like.dtype) for each in of_steps])


def answer(
    plan: Plan, moments: list[Moment], grads: Sequence[Tensor], leak: Tensor, threshold: Tensor, *own: Tensor
) -> tuple[Any, ...]:
    """The gradients on the currents of all steps, given those on the spikes; where learned on leak and threshold too.

    With d = ds/du, a hard reset has dv/du = (1 - s) - u d and dv/dthreshold = u d. A soft one has
    dv/du = 1 - threshold d and dv/dthreshold = threshold d - s. A detached reset drops the terms in d.
    """
    hard_reset = plan.setup.hard_reset
    onward = torch.zeros_like(moments[0].u)  # gradient on v[t], coming from step t + 1
    to_leak = to_threshold = torch.zeros_like(onward)
    to_currents: list[Tensor] = []
    for t in reversed(range(len(moments))):
        u, fired, before = moments[t]
        d = plan.slope.derivative(u - threshold, *(each[t] for each in own))
        s, g = fired.to(u.dtype), grads[t]
        through_spike = 0 * d if plan.detach_reset else (u if hard_reset else threshold) * d
        kept = 1 - s if hard_reset else 1.0
        to_u = g * d + onward * (kept - through_spike)
        if plan.learned:
            to_threshold = to_threshold - g * d + onward * (through_spike if hard_reset else through_spike - s)
            if before is not None:
                to_leak = to_leak + to_u * before
        to_currents.append(to_u)
        onward = leak * to_u
    return to_currents[::-1], *((to_leak, to_threshold) if plan.learned else ())

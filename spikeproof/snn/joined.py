"""How are a residual join, a batch norm and a neuron one kernel? For constants that want no gradient.

    y[t] = a x[t] + b past[t]              the join
    current[t] = scale y[t] + shift        the norm in eval mode, a channel

and then the neuron, as in `dynamics`. The forward reads both branches and writes y, which the next block may need, and
the spikes. The backward reads y and the gradients on both, and writes those on the branches.

All six constants are given a channel. On a CPU inductor makes one loop of what has the same axes: were the leak a
single number, the potentials would be written to memory between two loops.
"""

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from spikeproof.snn.compiling import run, worthwhile
from spikeproof.snn.dynamics import Derivative, Leaky, integrate
from spikeproof.snn.kernels import Order, Plan, Setup, answer, course, gathered, wide


class _Join(NamedTuple):
    """What the kernels need to know; equal ones share a kernel."""

    plan: Plan  # its setup is constant where x is the same at every step
    past: str  # the other branch: "none", "constant" (the same at every step) or "varying"


def joined_spikes(
    x: Tensor, past: Tensor | None, constants: Tensor, dynamics: Leaky, slope: Derivative, steps: int
) -> tuple[Tensor, Tensor]:
    """Spikes and y ``[steps, B, C, *n]`` of the branches `x`, alike, and `past` ``[steps or 1, B, C, *n]``.

    Without `past`, `x` may be constant in time, and is y. `constants` ``[6, C]``: a, b, scale, shift, leak, threshold;
    of `dynamics` the kind of reset is taken. Keeps the memory layout of `x`.
    """
    order, constant = Order.of(x), x.shape[0] == 1 and steps > 1
    plan = Plan(Setup(steps, constant, dynamics.hard_reset), slope, dynamics.detach_reset, learned=False)
    kind = "none" if past is None else "constant" if past.shape[0] == 1 and steps > 1 else "varying"
    rows, other = _rows(order, x), None if past is None else _rows(order, past)
    other = other[0] if other is not None and kind == "constant" else other
    spikes, *y = _Joined.apply(rows[0] if constant else rows, other, constants.unsqueeze(2), _Join(plan, kind))
    spikes, *y = (order.back(each.flatten(1), x.shape) for each in (spikes, *y))
    return spikes, y[0] if y else x


def can_join(x: Tensor, past: Tensor | None, steps: int) -> bool:
    """Whether there is a kernel for these branches, and it pays."""
    alike = past is None or (past.shape[1:] == x.shape[1:] and past.dtype == x.dtype and len(x) == steps)
    return alike and x.ndim > 2 and worthwhile(x[0].numel() * steps, steps, x.device.type)


def _rows(order: Order, x: Tensor) -> Tensor:
    """`x` ``[T, B, C, *n]`` as ``[T, before, C, behind]``: what lies before the channels in memory, and behind them."""
    before = math.prod(x.shape[d] for d in order.dims[1 : order.dims.index(2)])
    return x.permute(order.dims).reshape(len(x), before, x.shape[2], -1)


class _Joined(torch.autograd.Function):
    """x and past [T, A, C, D] (or [A, C, D] where constant), constants [6, C, 1] -> spikes and y [T, A, C, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, past: Tensor | None, constants: Tensor, join: _Join) -> tuple[Tensor, ...]:
        other = () if past is None else (past,)
        setup = join.plan.setup
        spikes, *y = run(_forward, (setup, join.past), x, constants, *other, compiled=_pays(setup, x))
        ctx.save_for_backward(y[0] if y else x, constants)
        ctx.join = join
        ctx.set_materialize_grads(False)
        return spikes, *y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        y, constants = ctx.saved_tensors
        spikes, *more = (None if grad is None else grad.contiguous() for grad in grads)
        if spikes is None:  # nothing follows the spikes
            spikes = y.new_zeros(ctx.join.plan.setup.steps, *y.shape[-3:])
        tensors = (y, constants, spikes, *(grad for grad in more if grad is not None))
        if torch.is_grad_enabled():  # a second derivative is wanted, which only the reference has
            found = _branches(ctx.join, constants, _differentiable(ctx.join, *tensors))
        else:
            found = run(_backward, ctx.join, *tensors, compiled=_pays(ctx.join.plan.setup, y))
        return *found, *(None for _ in range(4 - len(found)))


def _pays(setup: Setup, x: Tensor) -> bool:
    return worthwhile(x.numel() * (setup.steps if setup.constant else 1), setup.steps, x.device.type)


def _forward(kind: tuple[Setup, str], x: Tensor, constants: Tensor, *other: Tensor) -> tuple[Tensor, ...]:
    setup, past = kind
    a, b, scale, shift, leak, threshold = constants.unbind()
    y = [x if setup.constant else x[t] for t in range(setup.steps)]
    if other:
        pairs = zip(y, [other[0] if past == "constant" else other[0][t] for t in range(setup.steps)], strict=True)
        y = [(a * wide(one) + b * wide(two)).to(x.dtype) for one, two in pairs]
    moments = course([scale * wide(each) + shift for each in y], leak, threshold, setup.hard_reset)
    spikes = torch.stack([moment.fired.to(x.dtype) for moment in moments])
    return (spikes, torch.stack(y)) if other else (spikes,)


def _backward(join: _Join, y: Tensor, constants: Tensor, grad: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
    """The gradients on x and past, of one on the spikes and, where y is used, one on y."""
    plan, setup = join.plan, join.plan.setup
    a, b, scale, shift, leak, threshold = constants.unbind()
    currents = [scale * wide(y if setup.constant else y[t]) + shift for t in range(setup.steps)]
    moments = course(currents, leak, threshold, setup.hard_reset)
    to_currents, *_ = answer(plan, moments, [wide(g) for g in grad], leak, threshold)
    to_y = [scale * each for each in to_currents]
    if more:
        to_y = [each + wide(also) for each, also in zip(to_y, more[0], strict=True)]
    if join.past == "none":
        return (gathered(to_y, y, setup.constant),)
    to_x, to_past = [a * each for each in to_y], [b * each for each in to_y]
    return gathered(to_x, y, constant=False), gathered(to_past, y, join.past == "constant")


def _differentiable(join: _Join, y: Tensor, constants: Tensor, grad: Tensor, *more: Tensor) -> Tensor:
    """The gradient on y by the reference."""
    plan, setup = join.plan, join.plan.setup
    _, _, scale, shift, leak, threshold = constants.unbind()
    with torch.enable_grad():
        currents = scale * wide(y.expand(setup.steps, *y.shape[-3:])) + shift
        dynamics = Leaky(leak, threshold, setup.hard_reset, plan.detach_reset)
        spikes = integrate(currents, dynamics, cast(Derivative, plan.slope)).spikes.to(y.dtype)
        (to_y,) = torch.autograd.grad(spikes, y, grad, create_graph=True)
        return to_y + more[0] if more else to_y


def _branches(join: _Join, constants: Tensor, to_y: Tensor) -> tuple[Tensor, ...]:
    """The gradients on x and past, of one on y."""
    if join.past == "none":
        return (to_y,)
    to_past = (constants[1] * to_y).to(to_y.dtype)
    return (constants[0] * to_y).to(to_y.dtype), to_past.sum(0) if join.past == "constant" else to_past

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

    plan: Plan
    lasting: bool  # past is the same at every step
    onward: bool = True  # y has a gradient of its own: the next block reads it too


def joined_spikes(
    x: Tensor, past: Tensor, constants: Tensor, dynamics: Leaky, slope: Derivative, steps: int
) -> tuple[Tensor, Tensor]:
    """Spikes and y ``[steps, B, C, *n]`` of the branches `x`, alike, and `past` ``[steps or 1, B, C, *n]``.

    `constants` ``[6, C]``: a, b, scale, shift, leak, threshold; of `dynamics` the kind of reset is taken. Keeps the
    memory layout of `x`.
    """
    order, lasting = Order.of(x), len(past) == 1 and steps > 1
    plan = Plan(Setup(steps, False, dynamics.hard_reset), slope, dynamics.detach_reset, learned=False)
    rows, others = _rows(order, x), _rows(order, past)
    found = _Joined.apply(rows, others[0] if lasting else others, constants.unsqueeze(2), _Join(plan, lasting))
    spikes, y = (order.back(each.flatten(1), x.shape) for each in found)
    return spikes, y


def can_join(x: Tensor, past: Tensor, steps: int) -> bool:
    """Whether there is a kernel for these branches, and it pays."""
    alike = past.shape[1:] == x.shape[1:] and past.dtype == x.dtype and len(past) in (1, steps)
    return alike and len(x) == steps and x.ndim > 2 and worthwhile(x.numel(), steps, x.device.type)


def _rows(order: Order, x: Tensor) -> Tensor:
    """`x` ``[T, B, C, *n]`` as ``[T, before, C, behind]``: what lies before the channels in memory, and behind them."""
    before = math.prod(x.shape[d] for d in order.dims[1 : order.dims.index(2)])
    return x.permute(order.dims).reshape(len(x), before, x.shape[2], -1)


class _Joined(torch.autograd.Function):
    """x and past [T, A, C, D] (past [A, C, D] where lasting), constants [6, C, 1] -> spikes and y [T, A, C, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, past: Tensor, constants: Tensor, join: _Join) -> tuple[Tensor, Tensor]:
        spikes, y = run(_forward, (join.plan.setup, join.lasting), x, past, constants, compiled=_pays(x))
        ctx.save_for_backward(y, constants)
        ctx.join = join
        ctx.set_materialize_grads(False)
        return spikes, y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        y, constants = ctx.saved_tensors
        spikes, more = (None if grad is None else grad.contiguous() for grad in grads)
        tensors = (y, constants, torch.zeros_like(y) if spikes is None else spikes, *(() if more is None else (more,)))
        join = ctx.join._replace(onward=more is not None)
        if torch.is_grad_enabled():  # a second derivative is wanted, which only the reference has
            return *_differentiable(join, *tensors), None, None
        return *run(_backward, join, *tensors, compiled=_pays(y)), None, None


def _pays(x: Tensor) -> bool:
    return worthwhile(x.numel(), len(x), x.device.type)


def _forward(kind: tuple[Setup, bool], x: Tensor, past: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    setup, lasting = kind
    a, b, scale, shift, leak, threshold = constants.unbind()
    y = [(a * wide(x[t]) + b * wide(past if lasting else past[t])).to(x.dtype) for t in range(setup.steps)]
    moments = course([scale * wide(each) + shift for each in y], leak, threshold, setup.hard_reset)
    return torch.stack([moment.fired.to(x.dtype) for moment in moments]), torch.stack(y)


def _backward(join: _Join, y: Tensor, constants: Tensor, grad: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients on x and past, of one on the spikes and, where it goes onward, one on y."""
    a, b, scale, shift, leak, threshold = constants.unbind()
    currents = [scale * wide(y[t]) + shift for t in range(join.plan.setup.steps)]
    moments = course(currents, leak, threshold, join.plan.setup.hard_reset)
    to_currents, *_ = answer(join.plan, moments, [wide(g) for g in grad], leak, threshold)
    to_y = [scale * each for each in to_currents]
    if more:
        to_y = [each + wide(also) for each, also in zip(to_y, more[0], strict=True)]
    to_x, to_past = [a * each for each in to_y], [b * each for each in to_y]
    return gathered(to_x, y, constant=False), gathered(to_past, y, join.lasting)


def _differentiable(join: _Join, y: Tensor, constants: Tensor, grad: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
    """`_backward` by the reference."""
    a, b, scale, shift, leak, threshold = constants.unbind()
    with torch.enable_grad():
        dynamics = Leaky(leak, threshold, join.plan.setup.hard_reset, join.plan.detach_reset)
        spikes = integrate(scale * wide(y) + shift, dynamics, cast(Derivative, join.plan.slope)).spikes.to(y.dtype)
        (to_y,) = torch.autograd.grad(spikes, y, grad, create_graph=True)
        to_y = to_y + more[0] if more else to_y
    to_x, to_past = (a * to_y).to(y.dtype), (b * to_y).to(y.dtype)
    return to_x, to_past.sum(0) if join.lasting else to_past

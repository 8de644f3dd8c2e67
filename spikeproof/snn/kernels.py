"""How is `spikeproof.snn.dynamics` computed fast? One fused pass over the whole sequence.

Time is unrolled inside one loop over neurons, so potentials live in registers. The forward reads the currents and
writes the spikes. The backward has saved the currents alone: it computes the potentials again, and runs the recursion
in reverse. `torch.compile` turns both into one kernel each. The same two functions run eagerly where there is no C++
compiler, and where the work is too small or too long to unroll.
"""

import functools
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from spikeproof.snn.dynamics import Derivative, Dynamics, Leaky, integrate

COMPILE_FROM_ELEMENTS = 2**17  # below, a call takes microseconds and seconds of compilation cannot pay
# Bits of a vector. Inductor caches a kernel's source without them: in a process that is told to use wider vectors than
# the one that wrote it, the kernel would write past the ends of its tensors.
VECTORS = {"AVX512": 512, "AVX2": 256, "DEFAULT": 1}
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {
    "realize_opcount_threshold": 4,  # else the potentials of all steps are expanded anew in each: seconds more
    "cpp.vec_isa_ok": True,  # believe the processor's flags instead of compiling a program for each: seconds more
}
HALF = (torch.float16, torch.bfloat16)  # currents of fewer bits than potentials have
COMPILE_UP_TO_STEPS = 32  # unrolling more takes a compiler minutes


class Sharpened(Protocol):
    """A slope that every neuron has of its own sharpness, at every step."""

    def derivative(self, u: Tensor, sharpness: Tensor) -> Tensor: ...


class _Setup(NamedTuple):
    """What a forward needs to know; all slopes share one forward kernel."""

    steps: int
    constant: bool  # the same current at every step, x [N]; its gradient is summed over time in the kernel
    hard_reset: bool


class _Plan(NamedTuple):
    """What a backward needs to know beside; equal plans share one kernel."""

    setup: _Setup
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


def fused_spikes(
    x: Tensor, dynamics: Leaky, slope: Derivative | Sharpened, steps: int, sharpness: Tensor | None = None
) -> Tensor:
    """`spikes_of` leaky neurons; equal to `integrate` in every way.

    A leading 1 (with ``steps > 1``) means a current that is constant in time. Keeps the memory layout of `x`.
    """
    order = Order.of(x)
    flat = order.flat(x)
    own = None if sharpness is None else order.flat(sharpness)
    constant = x.shape[0] == 1 and steps > 1
    learned = dynamics.leak.requires_grad or dynamics.threshold.requires_grad
    plan = _Plan(_Setup(steps, constant, dynamics.hard_reset), slope, dynamics.detach_reset, learned)
    spikes = _Fused.apply(flat[0] if constant else flat, dynamics.leak, dynamics.threshold, own, plan)
    return order.back(spikes, x.shape)


class Order(NamedTuple):
    """In which order tensors ``[T, B, *n]`` are made rows ``[T, N]``: that of their memory, so that none is copied."""

    dims: tuple[int, ...]

    @staticmethod
    def of(x: Tensor) -> "Order":
        """The order of `x` in memory."""
        return Order((0, *sorted(range(1, x.ndim), key=x.stride, reverse=True)))

    def flat(self, x: Tensor) -> Tensor:
        """`x` ``[T, B, *n]`` as rows ``[T, N]``."""
        return x.permute(self.dims).reshape(len(x), -1)

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
    setup = _Setup(steps, constant, dynamics.hard_reset)
    flat = order.flat(x)
    rest = (dynamics.leak, dynamics.threshold, order.flat(means), order.flat(deviations), scale)
    found = _call(_sharpen, setup, setup, flat[0] if constant else flat, *rest)
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
    setup: _Setup, x: Tensor, leak: Tensor, threshold: Tensor, means: Tensor, deviations: Tensor, scale: Tensor
) -> tuple[Tensor, ...]:
    found, v = [], None
    for t in range(setup.steps):
        u, _, v = _step(setup, x, t, v, leak, threshold)
        found.append(_learned(u - threshold, means[t], deviations[t], scale))
    return tuple(torch.stack(each) for each in zip(*found, strict=True))


class _Fused(torch.autograd.Function):
    """x [T, N] (or [N] where constant), leak [], threshold [], sharpness [T, N] or None -> spikes [T, N]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, leak: Tensor, threshold: Tensor, sharpness: Tensor | None, plan: _Plan) -> Tensor:
        ctx.save_for_backward(x, leak, threshold, sharpness)
        ctx.plan = plan
        return _call(_forward, plan.setup, plan.setup, x, leak, threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, leak, threshold, sharpness = ctx.saved_tensors
        plan = ctx.plan
        if torch.is_grad_enabled():  # a second derivative is wanted, which only the reference has
            return _differentiable_backward(grads[0], x, leak, threshold, sharpness, plan)
        own = () if sharpness is None else (sharpness,)
        to_x, *to_constants = _call(_backward, plan, plan.setup, x, leak, threshold, grads[0].contiguous(), *own)
        to_leak, to_threshold = (each.sum().to(leak.dtype) for each in to_constants) if plan.learned else (None, None)
        return to_x, to_leak, to_threshold, None, None


def _differentiable_backward(
    grad: Tensor, x: Tensor, leak: Tensor, threshold: Tensor, sharpness: Tensor | None, plan: _Plan
) -> tuple[Tensor | None, ...]:
    inputs = [t for t in (x, leak, threshold) if t.requires_grad]
    with torch.enable_grad():
        steps, constant, hard_reset = plan.setup
        currents = x.expand(steps, *x.shape) if constant else x
        dynamics = Leaky(leak, threshold, hard_reset, plan.detach_reset)
        spikes = integrate(currents, dynamics, _slopes(plan.slope, sharpness)).spikes
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


def _step(
    setup: _Setup, x: Tensor, t: int, v: Tensor | None, leak: Tensor, threshold: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Potential, spike (as a mask) and potential after reset at step `t`; the last one is not reset."""
    current = x if setup.constant else x[t]
    current = current.float() if current.dtype in HALF else current
    u = current if v is None else (leak * v).add_(current)
    fired = u >= threshold
    if t + 1 == setup.steps:
        return u, fired, u  # nobody asks for what stays after it
    return u, fired, u.masked_fill(fired, 0) if setup.hard_reset else torch.where(fired, u - threshold, u)


def _forward(setup: _Setup, x: Tensor, leak: Tensor, threshold: Tensor) -> Tensor:
    spikes, v = [], None
    for t in range(setup.steps):
        _, fired, v = _step(setup, x, t, v, leak, threshold)
        spikes.append(fired.to(x.dtype))
    return torch.stack(spikes)


def _backward(
    plan: _Plan, x: Tensor, leak: Tensor, threshold: Tensor, grad: Tensor, sharpness: Tensor | None = None
) -> tuple[Tensor, ...]:
    """The gradient on x and, where learned, per neuron on leak and threshold [N], given one on the spikes [T, N].

    With d = ds/du, a hard reset has dv/du = (1 - s) - u d and dv/dthreshold = u d. A soft one has
    dv/du = 1 - threshold d and dv/dthreshold = threshold d - s. A detached reset drops the terms in d.
    """
    steps, constant, hard_reset = plan.setup
    trace: list[tuple[Tensor, Tensor, Tensor | None]] = []
    v: Tensor | None = None
    for t in range(steps):
        u, fired, after = _step(plan.setup, x, t, v, leak, threshold)
        trace.append((u, fired, v))
        v = after
    onward = torch.zeros_like(trace[0][0])  # gradient on v[t], coming from step t + 1
    to_leak = to_threshold = torch.zeros_like(onward)
    to_x: list[Tensor] = []
    for t in reversed(range(steps)):
        u, fired, before = trace[t]
        own = () if sharpness is None else (sharpness[t],)
        d = plan.slope.derivative(u - threshold, *own)
        s = fired.to(u.dtype)
        g = grad[t].to(u.dtype)
        through_spike = 0 * d if plan.detach_reset else (u if hard_reset else threshold) * d
        kept = 1 - s if hard_reset else 1.0
        to_u = g * d + onward * (kept - through_spike)
        if plan.learned:
            to_threshold = to_threshold - g * d + onward * (through_spike if hard_reset else through_spike - s)
            if before is not None:
                to_leak = to_leak + to_u * before
        to_x.append(to_u)
        onward = leak * to_u
    gathered = functools.reduce(torch.add, to_x) if constant else torch.stack(to_x[::-1])
    return gathered.to(x.dtype), *((to_leak, to_threshold) if plan.learned else ())


def _call(function: Callable[..., Any], plan: _Setup | _Plan, setup: _Setup, x: Tensor, *rest: Tensor) -> Any:
    elements = x.numel() * (setup.steps if setup.constant else 1)
    too_small, too_long = elements < COMPILE_FROM_ELEMENTS, setup.steps > COMPILE_UP_TO_STEPS
    if too_small or too_long or not can_compile(x.device.type):
        return function(plan, x, *rest)
    # Detached: dynamo would look at the gradients of tensors that have a history, and warn of them.
    return _compiled(function, plan)(*(t.detach() for t in (x, *rest)))


@functools.cache
def _compiled(function: Callable[..., Any], plan: _Setup | _Plan) -> Callable[..., Any]:
    def kernel(*tensors: Tensor) -> Any:
        return function(plan, *tensors)

    # A code object of its own: dynamo counts recompilations by code object, and all plans would share one.
    kernel.__code__ = kernel.__code__.replace(co_name=f"{function.__name__}_{zlib.crc32(repr(plan).encode()):x}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own modules warn of each other while they are imported
        compiled = torch.compile(kernel, dynamic=True, options=OPTIONS | _vectors())
    return _Kernel(compiled, functools.partial(function, plan))


def _vectors() -> dict[str, Any]:
    bits = VECTORS.get(torch.backends.cpu.get_cpu_capability())
    return {} if bits is None else {"cpp.simdlen": bits}


class _Kernel:
    """The compiled function; the eager one from the first time on that the compiler fails."""

    def __init__(self, compiled: Callable[..., Any], eager: Callable[..., Any]) -> None:
        self.run = compiled
        self.eager = eager

    def __call__(self, *tensors: Tensor) -> Any:
        try:
            return self.run(*tensors)
        except RuntimeError as error:
            from torch._dynamo.exc import TorchDynamoException  # a second of import

            if not isinstance(error, TorchDynamoException):
                raise
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"a spiking layer runs eagerly, several times slower: {reason}", stacklevel=2)
            self.run = self.eager
            return self.run(*tensors)


@functools.cache
def can_compile(device: str) -> bool:
    """Whether there is a compiler for `device`, and no SPIKEPROOF_COMPILE=0; says so once where there is none."""
    if os.environ.get("SPIKEPROOF_COMPILE", "1") == "0":
        return False
    if device != "cpu" or any(map(shutil.which, ("g++", "clang++", os.environ.get("CXX", "g++")))):
        return True
    warnings.warn("spiking layers run eagerly, several times slower: no C++ compiler was found", stacklevel=2)
    return False

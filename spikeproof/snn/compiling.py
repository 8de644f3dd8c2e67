"""When is a function of tensors compiled, and how? By inductor, where there is a compiler and enough to do.

Below that, and from the first time on that the compiler fails, the same function runs eagerly.
"""

import functools
import importlib
import os
import shutil
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

SWITCH = "SPIKEPROOF_COMPILE"  # of the environment; 0: nothing is compiled
COMPILE_FROM_ELEMENTS = 2**17  # below, a call takes microseconds and seconds of compilation cannot pay
# Bits of a vector. Inductor caches a kernel's source without them: in a process that is told to use wider vectors than
# the one that wrote it, the kernel would write past the ends of its tensors.
VECTORS = {"AVX512": 512, "AVX2": 256, "DEFAULT": 1}
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {
    "realize_opcount_threshold": 4,  # else the potentials of all steps are expanded anew in each: seconds more
    "emulate_precision_casts": True,  # else a forward goes on with more digits than it hands to its backward
    "max_fusion_size": 4096,  # nodes in a kernel; with inductor's 64, 8 steps are cut in two and potentials written
    "cpp.vec_isa_ok": True,  # believe the processor's flags instead of compiling a program for each: seconds more
}
COMPILE_UP_TO_STEPS = 32  # unrolling more takes a compiler minutes


def worthwhile(elements: int, steps: int, device: str) -> bool:
    """Whether a kernel pays for this many currents (of all steps together) and steps, and can be made."""
    too_small, too_long = elements < COMPILE_FROM_ELEMENTS, steps > COMPILE_UP_TO_STEPS
    return not too_small and not too_long and can_compile(device)


def run(function: Callable[..., Any], plan: Any, *tensors: Tensor, compiled: bool) -> Any:
    """``function(plan, *tensors)``, compiled or eagerly; equal plans share one kernel.

    Eagerly where somebody looks at every operation, to count multiply-adds for example: dynamo refuses that.
    """
    if not compiled or is_in_torch_dispatch_mode():
        return function(plan, *tensors)
    # Detached: dynamo would look at the gradients of tensors that have a history, and warn of them.
    return _compiled(function, plan)(*(t.detach() for t in tensors))


@functools.cache
def _compiled(function: Callable[..., Any], plan: Any) -> Callable[..., Any]:
    def kernel(*tensors: Tensor) -> Any:
        return function(plan, *tensors)

    # A code object of its own: dynamo counts recompilations by code object, and all plans would share one.
    kernel.__code__ = kernel.__code__.replace(co_name=f"{function.__name__}_{zlib.crc32(repr(plan).encode()):x}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own modules warn of each other while they are imported
        importlib.import_module("torch._inductor.compile_fx")
        compiled = torch.compile(kernel, fullgraph=True, dynamic=True, options=OPTIONS | _vectors())
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
            reason = " ".join(str(error).split("\n")[:2])  # the first line of inductor's says only that it is its own
            warnings.warn(f"a spiking layer runs eagerly, several times slower: {reason}", stacklevel=2)
            self.run = self.eager
            return self.run(*tensors)


@functools.cache
def can_compile(device: str) -> bool:
    """Whether there is a compiler for `device`, and no SPIKEPROOF_COMPILE=0; says so once where there is none."""
    if os.environ.get(SWITCH, "1") == "0":
        return False
    if device != "cpu" or any(map(shutil.which, ("g++", "clang++", os.environ.get("CXX", "g++")))):
        return True
    warnings.warn("spiking layers run eagerly, several times slower: no C++ compiler was found", stacklevel=2)
    return False

"""Has memory run out? Whoever can goes on with fewer images, and nobody takes it for a fault of the network.

torch has an error of its own for accelerators, but the allocator of a CPU and some libraries say it in words alone.
"""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

SAID = (
    "can't allocate memory",  # torch's allocator on a CPU
    "not enough memory",  # the same on Windows
    "out of memory",  # MPS, and what asks CUDA directly
    "ALLOC_FAILED",  # libraries of CUDA
    "std::bad_alloc",
)


def lacks_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had no memory left."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(said in str(error) for said in SAID))


def unless_short(call: Callable[[], T]) -> T | None:
    """What `call` returns; None where it ran out of memory, and what it left is cleared away."""
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        if not lacks_memory(error):
            raise
    free()  # outside of the block above: the error holds what was computed
    return None


def free() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()

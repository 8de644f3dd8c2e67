"""What is done where memory runs out? Training stops and says what would fit; validation goes on in smaller batches."""

import gc
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from spikeproof.choices import UserError

T = TypeVar("T")

SAID = ("can't allocate memory", "ALLOC_FAILED")  # by torch's allocator on a CPU, and by CUDA's libraries


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


def what_fits(step: Callable[[int], object], images: int) -> UserError:
    """What to say where a step of so many `images` did not fit: the largest half of a half of ... that did."""
    free()
    fewer = images // 2
    while fewer >= 2 and unless_short(partial(step, fewer)) is None:
        fewer //= 2
    would = f"batches of {fewer} would fit: set training.batch to {fewer}"
    return UserError(
        f"training stopped: out of memory in a step of {images} images; "
        f"{would if fewer >= 2 else 'two images do not fit either'}. The last checkpoint is still there; "
        "another batch is another recipe, so name another folder for it"
    )

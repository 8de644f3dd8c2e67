"""How long does a call take, and what does it keep, against another? In pairs, alternating, with a spread.

Times are of the process's own CPU on a CPU, where one thread computes (wall-clock time less what other programs
took), and wall-clock time up to the end of the last kernel on an accelerator.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spread:
    """The median, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Times:
    """Seconds of each contestant's call in each round, and which share of the time the process had a core."""

    seconds: dict[str, list[float]]
    had_core: float

    def ratio(self, slow: str, fast: str) -> Spread:
        """How many times longer `slow` took than `fast` in the same round."""
        return Spread.of([a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True)])


def alternate(calls: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device) -> Times:
    """Times every call once a round, in an order that rotates; all must have been called before."""
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    wall = own = 0.0
    # A compilation inside a timed call would be timed with it.
    with _no_garbage_collection(), torch.compiler.set_stance("fail_on_recompile"):
        for number in range(rounds):
            for place in range(len(names)):
                name = names[(number + place) % len(names)]
                took, busy = _time(calls[name], device)
                seconds[name].append(busy if device.type == "cpu" else took)
                wall, own = wall + took, own + busy
            gc.collect()
    return Times(seconds, own / wall)


def _time(call: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds on the wall and on the process's cores."""
    _finish(device)
    wall, own = time.perf_counter(), time.process_time()
    call()
    _finish(device)
    return time.perf_counter() - wall, time.process_time() - own


def once(call: Callable[[], Any], device: torch.device) -> float:
    """Wall-clock seconds of one call."""
    return _time(call, device)[0]


def saved_bytes(call: Callable[[], Any]) -> int:
    """Bytes that autograd keeps between forward and backward; a storage counts once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(kept.values())


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int | None:
    """The accelerator's memory at its fullest during `call`; None on a CPU, which does not count it."""
    _finish(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    call()
    _finish(device)
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

"""Where does our time go? Shares of each workload by kind of operator, so that a missed goal can be explained."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.contestants import Ours
from benchmarks.workloads import Setting, Workload

REPEATS = 3
KINDS: dict[str, tuple[str, ...]] = {  # the first kind one of whose words is in an operator's name
    "convolution": ("convolution", "conv2d", "conv_bias", "cudnn", "wgrad", "dgrad", "fprop", "implicit_gemm"),
    "neurons": ("CompiledFxGraph", "_Fused", "Torch-Compiled", "TorchDynamo", "Pregraph", "triton_"),
    "normalisation": ("batch_norm",),
    "pooling": ("pool",),
    "linear": ("addmm", "aten::mm", "gemm"),
    "copies and fills": ("copy_", "fill_", "zero_", "Memcpy", "Memset"),
    "optimiser": ("Optimizer", "foreach"),
}
REST = "rest"


def hotspots(workload: Workload, at: Setting) -> dict[str, float]:
    """Share of the time of our call by kind of operator, the largest first; they sum to 1."""
    call = workload.prepare(Ours(), at)
    for _ in range(2):
        call()
    activities = [ProfilerActivity.CPU]
    if at.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as recorded:
        _repeat(call)
    spent: dict[str, float] = defaultdict(float)
    for event in recorded.key_averages():
        spent[kind_of(event.key)] += _own_time(event, at.device)
    total = sum(spent.values())
    return {kind: time / total for kind, time in sorted(spent.items(), key=lambda pair: -pair[1])}


def kind_of(operator: str) -> str:
    for kind, words in KINDS.items():
        if any(word in operator for word in words):
            return kind
    return REST


def _own_time(event: Any, device: torch.device) -> float:
    return event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total


def _repeat(call: Callable[[], Any]) -> None:
    for _ in range(REPEATS):
        call()

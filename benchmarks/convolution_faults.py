"""Which convolutions write past their buffers, or compute wrong numbers? `python -m benchmarks.convolution_faults`.

Each runs forward and backward in a process of its own: torch's layer and the one that our networks have in its place,
in both layouts, with the instructions of several processors. glibc looks for damage at every block that is freed and
ends the process that did it; what a process computed is held against float64.
"""

import argparse
import ctypes
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.records import write_json
from spikeproof.runs import environment
from spikeproof.snn.layers import conv

CAPABILITIES = ("", "avx2", "default")  # ATEN_CPU_CAPABILITY, for torch's own kernels; "" is what the processor has
INSTRUCTIONS = ("", "AVX2", "SSE41")  # ONEDNN_MAX_CPU_ISA, for oneDNN's
CHECKED_HEAP = {"LD_PRELOAD": "libc_malloc_debug.so.0", "GLIBC_TUNABLES": "glibc.malloc.check=3"}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SHAPES = list(itertools.product((1, 8), (1, 6, 64), (7, 8)))  # output channels, images, side
WRONG, TOLERANCE = 3, 1e-3  # exit code; relative to the largest number, float32 leaves 1e-6


@dataclass(frozen=True, kw_only=True)
class Case:
    """One convolution; it is tried on every shape."""

    layer: str  # "torch" or "ours"
    layout: str
    kernel: int
    stride: int
    inputs: int

    def build(self, outputs: int) -> nn.Module:
        if self.layer == "ours":
            return conv(self.inputs, outputs, self.kernel, self.stride)[0]
        return nn.Conv2d(self.inputs, outputs, self.kernel, self.stride, padding=self.kernel // 2, bias=False)


def cases(channels: int) -> Iterator[Case]:
    for layer, layout, kernel, stride in itertools.product(("torch", "ours"), LAYOUTS, (1, 3), (1, 2)):
        for inputs in range(1, channels + 1):
            yield Case(layer=layer, layout=layout, kernel=kernel, stride=stride, inputs=inputs)


def ending(work: Callable[[], None]) -> str:
    """How a process of its own ends that does the work: "", "wrong numbers", or the name of a signal."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return signal.Signals(-code).name if code < 0 else {0: "", WRONG: "wrong numbers"}.get(code, f"exit code {code}")


def exercise(case: Case, shapes: list[tuple[int, int, int]]) -> None:
    """Forward and backward on every shape; ends the process where a number is wrong."""
    for outputs, images, side in shapes:
        layer = case.build(outputs).to(memory_format=LAYOUTS[case.layout])
        x = torch.randn(images, case.inputs, side, side).contiguous(memory_format=LAYOUTS[case.layout])
        expected = results(layer.double(), x.double())
        for found, right in zip(results(layer.float(), x), expected, strict=True):
            if not (found - right).abs().max() <= TOLERANCE * right.abs().max():
                os._exit(WRONG)


def named(outputs: int, images: int, side: int) -> str:
    return f"{images} images of {side} x {side} to {outputs}"


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of half its sum of squares."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], y.detach())]


def overrun() -> None:
    """One byte too many, as a heap that is checked must find it."""
    python = ctypes.pythonapi
    python.PyMem_RawMalloc.restype = ctypes.c_void_p
    block = ctypes.c_void_p(python.PyMem_RawMalloc(ctypes.c_size_t(100)))
    ctypes.memset(block, 7, 101)
    python.PyMem_RawFree(block)


def faults_here(channels: int) -> list[dict[str, Any]]:
    """The cases that fail in this process's own setting, and how they end on each shape alone.

    Damage is seen where a freed block lies behind the buffer: on all shapes in turn sooner than on one alone.
    """
    if not ending(overrun):
        raise SystemExit("the heap is not checked here: glibc's libc_malloc_debug.so.0 is needed")
    torch.set_num_threads(1)  # a process that has started threads cannot be forked
    results(nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 8, 8))  # what a first call takes, once for all
    found = []
    for case in cases(channels):
        if ending(partial(exercise, case, SHAPES)):
            ends = {named(*shape): ending(partial(exercise, case, [shape])) for shape in SHAPES}
            found.append(asdict(case) | {"ends_alone": {name: end for name, end in ends.items() if end}})
    return found


def faults(setting: dict[str, str], channels: int) -> list[dict[str, Any]]:
    """What `faults_here` finds in a process with these variables; "" stands for one that is not set."""
    command = [sys.executable, "-m", "benchmarks.convolution_faults", "--here", "--channels", str(channels)]
    kept = {name: value for name, value in os.environ.items() if name not in setting}
    variables = {name: value for name, value in (setting | CHECKED_HEAP | ONE_THREAD).items() if value}
    done = subprocess.run(command, env=kept | variables, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convolution_faults", description=__doc__)
    parser.add_argument("--here", action="store_true", help="only this process's own setting, to standard output")
    parser.add_argument("--channels", type=int, default=16, help="input channels, from 1 to this")
    parser.add_argument("--out", type=Path, default=Path("build", "convolution_faults.json"))
    options = parser.parse_args(arguments)
    if options.here:
        print(json.dumps(faults_here(options.channels)))
        return
    scans = []
    for capability, instructions in itertools.product(CAPABILITIES, INSTRUCTIONS):
        setting = {"ATEN_CPU_CAPABILITY": capability, "ONEDNN_MAX_CPU_ISA": instructions}
        scans.append(setting | {"faults": faults(setting, options.channels)})
    settings: dict[str, Any] = {"channels": options.channels, "threads": 1}
    settings["shapes"] = [named(*shape) for shape in SHAPES]
    record = {"environment": environment(), "settings": settings, "scans": scans}
    write_json(options.out, record)
    show(scans)
    Console().print(f"written to {options.out}")


def show(scans: list[dict[str, Any]]) -> None:
    table = Table("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "layer", "kernel", "stride", "channels", title="Faults")
    for scan in scans:
        by_layer: dict[tuple[str, ...], list[str]] = {}
        for fault in scan["faults"]:
            layer = (f"{fault['layer']}, {fault['layout']}", str(fault["kernel"]), str(fault["stride"]))
            by_layer.setdefault(layer, []).append(str(fault["inputs"]))
        for layer, channels in (by_layer or {("none", "", ""): []}).items():
            row = (scan["ATEN_CPU_CAPABILITY"] or "unset", scan["ONEDNN_MAX_CPU_ISA"] or "unset", *layer)
            table.add_row(*row, " ".join(channels))
    Console().print(table)


if __name__ == "__main__":
    main()

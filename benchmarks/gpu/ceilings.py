"""What can the card do at best? Products of large matrices, and copies of memory: the floors of all else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.measure import once

if TYPE_CHECKING:
    from benchmarks.gpu.scene import Scene

ROUNDS = 20
SIDE, BYTES = 8192, 2**31  # of the matrices, and of the copied tensor
TINY_SIDE, TINY_BYTES = 64, 2**12


@dataclass(frozen=True)
class Ceilings:
    """Operations a second (a multiply-add is two) in each number format, and bytes a second, read and written."""

    bfloat16: float
    float32: float  # as users have it: with TF32 where convolutions use it
    full_float32: float
    bytes: float

    def operations(self, dtype: torch.dtype) -> float:
        """Of layers that compute in `dtype`."""
        return self.bfloat16 if dtype == torch.bfloat16 else self.float32


def ceilings_of(device: torch.device, *, tiny: bool = False) -> Ceilings:
    side, size = (TINY_SIDE, TINY_BYTES) if tiny else (SIDE, BYTES)
    return Ceilings(
        bfloat16=product(device, side, torch.bfloat16, tf32=False),
        float32=product(device, side, torch.float32, tf32=True),
        full_float32=product(device, side, torch.float32, tf32=False),
        bytes=copied(device, size),
    )


def rows(scene: "Scene") -> Iterator[dict[str, Any]]:
    yield asdict(scene.ceilings)


def product(device: torch.device, side: int, dtype: torch.dtype, *, tf32: bool) -> float:
    """Operations a second of a product of two matrices of `side` rows and columns."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    with products_in_tf32(tf32):
        return 2 * side**3 / fastest(lambda: torch.mm(a, b), device)


def copied(device: torch.device, size: int) -> float:
    """Bytes a second that a copy of `size` bytes reads and writes."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / fastest(lambda: target.copy_(source), device)


def fastest(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the fastest of some calls, the first of which is not counted."""
    call()
    return min(once(call, device) for _ in range(ROUNDS))


@contextmanager
def products_in_tf32(on: bool) -> Iterator[None]:
    """Products of float32 matrices in TF32 or not, inside the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if on else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

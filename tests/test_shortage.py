"""Is a lack of memory recognised in whatever words it is said, and nothing else taken for one?"""

import pytest
import torch
from torch import nn

from spikeproof.calling import answer_of
from spikeproof.choices import UserError
from spikeproof.shortage import lacks_memory, unless_short

SHORT = {
    "python": MemoryError(),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
    "windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 17.1 GB, max allowed: 18.1 GB)."),
    "driver": RuntimeError("CUDA error: out of memory"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "c++": RuntimeError("std::bad_alloc"),
}
OTHER = (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), KeyError("memory"))


@pytest.mark.parametrize("error", SHORT.values(), ids=SHORT)
def test_whoever_says_it_is_understood(error: Exception) -> None:
    def fails() -> int:
        raise error

    assert lacks_memory(error)
    assert unless_short(fails) is None


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_nothing_else_is_taken_for_it(error: Exception) -> None:
    def fails() -> int:
        raise error

    assert not lacks_memory(error)
    with pytest.raises(type(error)):
        unless_short(fails)


def test_what_the_allocator_of_this_machine_says() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.int8)
    assert lacks_memory(caught.value)


@pytest.mark.parametrize("error", SHORT.values(), ids=SHORT)
def test_a_network_without_memory_is_no_wrong_network(error: Exception) -> None:
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise error

    with pytest.raises(type(error)) as caught:
        answer_of(Fails(), torch.rand(1, 1, 2, 2))
    assert not isinstance(caught.value, UserError)

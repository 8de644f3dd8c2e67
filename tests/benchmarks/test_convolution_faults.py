"""Does the scan of convolutions see a damaged heap, and none behind the layers of ours?"""

import platform

import pytest

from benchmarks.convolution_faults import faults

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its heap is checked by glibc")
def test_only_the_strided_1x1_convolution_of_torch_fails() -> None:
    """A scan that does not see a byte past the end of a block refuses to start."""
    found = faults(AVX2, channels=2)
    assert {(fault["layer"], fault["kernel"], fault["stride"]) for fault in found} <= {("torch", 1, 2)}

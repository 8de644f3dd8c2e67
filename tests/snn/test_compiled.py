"""Does the compiled neuron equal the readable one? Few cases, because each is seconds of compilation."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spikeproof.snn import ATan, Sigmoid, Slope, Triangle, compiling
from spikeproof.snn.dynamics import Leaky, integrate
from spikeproof.snn.kernels import fused_spikes

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),  # inductor's modules, while they are imported
]


@pytest.fixture(autouse=True)
def everything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    compiling.can_compile.cache_clear()
    monkeypatch.delenv("SPIKEPROOF_COMPILE", raising=False)
    monkeypatch.setattr(compiling, "COMPILE_FROM_ELEMENTS", 0)
    import torch._dynamo

    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield
    assert compiling.can_compile("cpu")


def currents(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5).to(dtype)


def constants(hard_reset: bool, detach_reset: bool = False, learned: bool = True) -> Leaky:
    leak, threshold = torch.tensor(0.5, requires_grad=learned), torch.tensor(1.0, requires_grad=learned)
    return Leaky(leak, threshold, hard_reset, detach_reset)


def assert_equal_to_the_reference(
    x: Tensor, dynamics: Leaky, slope: Slope, steps: int, incoming: Tensor | None = None
) -> None:
    """Spikes equal; gradients to the rounding of the currents' type."""
    x = x.detach().requires_grad_()
    inputs = (x, dynamics.leak, dynamics.threshold) if dynamics.leak.requires_grad else (x,)
    spikes = fused_spikes(x, dynamics, slope, steps)
    expected = integrate(x.expand(steps, *x.shape[1:]), dynamics, slope).spikes
    assert 0 < expected.mean() < 1
    assert torch.equal(spikes, expected)
    assert spikes.dtype == x.dtype
    assert spikes.stride()[1:] == x.stride()[1:]
    weights = currents(*spikes.shape, seed=1).to(x.dtype) if incoming is None else incoming
    found = torch.autograd.grad(spikes, inputs, weights)
    rough = {torch.float32: 2e-6, torch.bfloat16: 0.03}[x.dtype]
    for a, b in zip(found, torch.autograd.grad(expected, inputs, weights), strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=rough, atol=10 * rough)


def test_hard_reset_learned_constants_and_any_layout() -> None:
    """One plan; and a gradient, currents and sizes of several layouts meet the same two kernels."""
    plain, dynamics = currents(4, 3, 4, 2, 6), constants(hard_reset=True)
    backwards = currents(6, 2, 3, 4, 4).permute(4, 2, 3, 1, 0)
    assert not backwards.is_contiguous()
    assert_equal_to_the_reference(plain, dynamics, Triangle(), 4, incoming=backwards)
    frames = plain.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (4, 3))
    assert_equal_to_the_reference(frames, dynamics, Triangle(), 4)
    assert_equal_to_the_reference(currents(4, 5, 37), dynamics, Triangle(), 4)
    assert_equal_to_the_reference(
        plain, constants(hard_reset=True), Triangle(), 4, torch.ones(()).expand(4, 3, 4, 2, 6)
    )


def test_second_derivatives() -> None:
    x, dynamics = currents(4, 30).requires_grad_(), constants(hard_reset=True)

    def second(spikes: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(spikes.sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    found = second(fused_spikes(x, dynamics, Triangle(), 4))
    torch.testing.assert_close(found, second(integrate(x, dynamics, Triangle()).spikes))
    assert found.abs().sum() > 0


def test_soft_reset_detached_constant_currents_another_slope_and_length() -> None:
    dynamics = constants(hard_reset=False, detach_reset=True, learned=False)
    assert_equal_to_the_reference(currents(1, 5, 7), dynamics, ATan(), 3)


def test_bfloat16() -> None:
    x = currents(2, 40, dtype=torch.bfloat16)
    assert_equal_to_the_reference(x, constants(hard_reset=False, learned=False), Sigmoid(), 2)


def test_more_plans_than_dynamo_recompiles_one_function() -> None:
    """Every plan has a function of its own; a shared one would fall back to eager at dynamo's limit, 8 by default."""
    with torch._dynamo.config.patch(recompile_limit=2):
        for steps, hard_reset in ((1, True), (2, True), (3, True), (2, False)):
            x, dynamics = currents(steps, 90), constants(hard_reset, learned=False)
            expected = integrate(x, dynamics, Triangle()).spikes
            assert torch.equal(fused_spikes(x, dynamics, Triangle(), steps), expected)


def test_sequences_too_long_to_unroll_run_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_compiled", lambda *_: pytest.fail("compiled"))
    steps = compiling.COMPILE_UP_TO_STEPS + 1
    assert_equal_to_the_reference(currents(steps, 11), constants(hard_reset=True), Triangle(), steps)
    assert compiling.can_compile("cpu")


MANY_TIMES = """
import torch
from spikeproof.snn import LIF, compiling

torch.set_num_threads(1)
compiling.COMPILE_FROM_ELEMENTS = 0
layer = LIF().layer(4)
with torch.no_grad():
    for neurons in (37, 50, 1000, 333):
        for _ in range(50):
            layer(torch.randn(4, 1, neurons))
"""


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="needs wider vectors than AVX2's")
def test_a_kernel_that_was_written_for_narrower_vectors_is_not_used(tmp_path: Path) -> None:
    """Inductor's cache knows no width: the second process would damage its heap with the kernel of the first."""
    for capability in ("avx2", None):
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
        environment.pop("ATEN_CPU_CAPABILITY", None)
        if capability:
            environment["ATEN_CPU_CAPABILITY"] = capability
        command = [sys.executable, "-c", MANY_TIMES]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (capability, done.stderr)

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
from torch.utils.flop_counter import FlopCounterMode

from spikeproof.snn import ATan, Network, Sigmoid, Slope, SmallCNN, Triangle, compiling, joined, kernels
from spikeproof.snn.dynamics import Leaky, integrate
from spikeproof.snn.kernels import Plan, Setup, fused_spikes

pytestmark = [
    pytest.mark.usefixtures("compiling_where_it_pays"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),  # inductor's modules, while they are imported
]


@pytest.fixture(autouse=True)
def everything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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


def test_pooled_and_joined_regions_are_one_kernel_each_that_writes_its_answers_alone() -> None:
    """At 8 steps. What inductor cannot hold in one loop it writes to memory: any other allocation would show that."""
    from torch._inductor.utils import run_and_get_code

    neuron, slope = Leaky(torch.tensor(0.5), torch.tensor(1.0)), Triangle()
    x, past, grad = (currents(8, 3, 4, 16, 1, seed=k) for k in range(3))
    constants = torch.rand(6, 16, 1, generator=torch.Generator().manual_seed(3)) + 0.3
    plan = Plan(Setup(8, False, True), slope, detach_reset=False, learned=False)
    pooled = Setup(8, False, True, pooled=True)
    regions = {
        "pooled forward": (kernels._forward, pooled, (currents(8, 3, 2, 4, 2, 16), neuron.leak, neuron.threshold), 1),
        "plain backward": (kernels._backward, plan, (x.flatten(1), neuron.leak, neuron.threshold, grad.flatten(1)), 1),
        "joined forward": (joined._forward, (plan.setup, False), (x, past, constants), 2),
        "joined backward": (joined._backward, joined._Join(plan, False), (x, constants, grad, past), 2),
    }
    for name, (function, plan_of_it, tensors, answers) in regions.items():
        found, code = run_and_get_code(
            lambda *t, f=function, p=plan_of_it: compiling.run(f, p, *t, compiled=True), *tensors
        )
        source = "\n".join(code)
        assert source.count("async_compile.cpp_pybinding(") == 1, name
        assert source.count("empty_strided_cpu(") == answers, name
        expected = function(plan_of_it, *tensors)
        for a, b in zip(_all(found), _all(expected), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")


def _all(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (found,) if isinstance(found, Tensor) else found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_joined_backward_follows_the_spikes_that_its_forward_fired(dtype: torch.dtype) -> None:
    """Both go on from y as it is in memory: the compiled pair equals the eager one, ties and all."""
    neuron = Leaky(torch.tensor(0.5), torch.tensor(1.0))
    x, past = (currents(3, 5, 6, 7, seed=k, dtype=dtype).requires_grad_() for k in range(2))
    constants = torch.rand(6, 6, generator=torch.Generator().manual_seed(3)) + 0.3
    found = joined.joined_spikes(x, past, constants, neuron, Triangle(), 3)
    setup = Setup(3, False, True)
    expected = joined._forward((setup, False), x.detach(), past.detach(), constants.unsqueeze(2))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert torch.equal(a, b)
    weights = tuple(currents(*each.shape, seed=4 + k, dtype=dtype) for k, each in enumerate(found))
    answers = torch.autograd.grad(found, (x, past), weights)
    join = joined._Join(Plan(setup, Triangle(), detach_reset=False, learned=False), lasting=False)
    wanted = joined._backward(join, expected[1], constants.unsqueeze(2), *weights)
    rough = {torch.float32: 2e-6, torch.bfloat16: 0.01}[dtype]
    for a, b in zip(answers, wanted, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, rtol=rough, atol=rough)


def test_operations_can_be_counted() -> None:
    """FlopCounterMode sees every operation, which a compiled kernel would hide; dynamo refuses to run under it."""
    net = Network(architecture=SmallCNN(widths=(8, 16, 16)), steps=4).build((1, 32, 32), 10).eval()
    x = torch.rand(8, 1, 32, 32)  # enough for a kernel
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        counted = net(x)
    assert counter.get_total_flops() > 0
    with torch.no_grad():
        torch.testing.assert_close(counted, net(x))

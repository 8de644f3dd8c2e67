"""Does the fused neuron equal the readable one, in value and in every derivative? (Uncompiled; see test_compiled.)"""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

import spikeproof
from spikeproof.choices import UserError
from spikeproof.snn import Slope, Triangle, compiling
from spikeproof.snn.dynamics import Leaky, integrate
from spikeproof.snn.kernels import fused_spikes

SLOPES = [
    kind()
    for name in spikeproof.snn.__all__
    if isinstance(kind := getattr(spikeproof.snn, name), type) and issubclass(kind, Slope) and kind is not Slope
]
STEPS = (1, 2, 8)
resets = pytest.mark.parametrize("hard_reset", [True, False], ids=["hard", "soft"])
detaching = pytest.mark.parametrize("detach_reset", [False, True], ids=["through", "detached"])
slopes = pytest.mark.parametrize("slope", SLOPES, ids=str)


def contiguous(x: Tensor) -> Tensor:
    return x.contiguous()


def channels_last(x: Tensor) -> Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


def transposed(x: Tensor) -> Tensor:
    return x.permute(0, 4, 3, 1, 2).contiguous().permute(0, 3, 4, 2, 1)


def sliced(x: Tensor) -> Tensor:
    return torch.cat([x, x, x], 1)[:, 2:5].repeat(1, 1, 1, 1, 2)[..., ::2]


def expanded(x: Tensor) -> Tensor:
    return x[:, :1].expand(-1, 3, -1, -1, -1)


LAYOUTS: tuple[Callable[[Tensor], Tensor], ...] = (contiguous, channels_last, transposed, sliced, expanded)


def currents(steps: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, 3, 4, 2, 3, generator=generator, dtype=dtype) + 0.5


def constants(hard_reset: bool = True, detach_reset: bool = False, learned: bool = True) -> Leaky:
    leak = torch.tensor(0.7, dtype=torch.float64, requires_grad=learned)
    threshold = torch.tensor(0.9, dtype=torch.float64, requires_grad=learned)
    return Leaky(leak, threshold, hard_reset, detach_reset)


def reference(x: Tensor, dynamics: Leaky, slope: Slope, steps: int) -> Tensor:
    return integrate(x.expand(steps, *x.shape[1:]), dynamics, slope).spikes


def derivatives(spikes: Tensor, *inputs: Tensor, **options: bool) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(spikes.shape, generator=generator, dtype=torch.float64).to(spikes.dtype)
    return torch.autograd.grad(spikes, inputs, weights, **options)


def cases() -> Iterator[tuple[int, bool, Callable[[Tensor], Tensor]]]:
    yield from itertools.product(STEPS, (False, True), LAYOUTS)


@slopes
@resets
@detaching
def test_equal_to_the_reference(slope: Slope, hard_reset: bool, detach_reset: bool) -> None:
    for steps, constant, layout in cases():
        x = layout(currents(1 if constant else steps)).detach().requires_grad_()
        dynamics = constants(hard_reset, detach_reset)
        spikes = fused_spikes(x, dynamics, slope, steps)
        expected = reference(x, dynamics, slope, steps)
        case = f"{steps} steps, constant {constant}, {layout.__name__}"
        assert torch.equal(spikes, expected), case
        inputs = (x, dynamics.leak, dynamics.threshold)
        found = derivatives(spikes, *inputs)
        # over one step a leak has nothing to act on
        wanted = derivatives(expected, *inputs, allow_unused=True, materialize_grads=True)
        for name, a, b in zip(("x", "leak", "threshold"), found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11, msg=lambda m, n=name, c=case: f"{n}, {c}: {m}")


@pytest.mark.parametrize("learned", ["x", "leak", "threshold"])
@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
def test_one_gradient_alone(learned: str, constant: bool) -> None:
    tensors = {"x": currents(1 if constant else 4), "leak": torch.tensor(0.7), "threshold": torch.tensor(0.9)}
    wanted = tensors[learned].requires_grad_()
    dynamics = Leaky(tensors["leak"], tensors["threshold"])
    (found,) = derivatives(fused_spikes(tensors["x"], dynamics, Triangle(), 4), wanted)
    (expected,) = derivatives(reference(tensors["x"], dynamics, Triangle(), 4), wanted)
    torch.testing.assert_close(found, expected)
    assert found.dtype == wanted.dtype
    assert found.abs().sum() > 0


@pytest.mark.parametrize("layout", [contiguous, channels_last, transposed])
@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
def test_spikes_keep_the_layout_of_the_currents(layout: Callable[[Tensor], Tensor], constant: bool) -> None:
    x = layout(currents(1 if constant else 4))
    spikes = fused_spikes(x, constants(), Triangle(), 4)
    assert spikes.shape == (4, *x.shape[1:])
    assert spikes.stride()[1:] == x.stride()[1:]


def test_a_gradient_that_is_not_contiguous() -> None:
    x = currents(4).requires_grad_()
    incoming = torch.randn(3, 2, 3, 4, 4, dtype=torch.float64).permute(3, 0, 4, 1, 2)
    assert not incoming.is_contiguous()
    (found,) = torch.autograd.grad(fused_spikes(x, constants(), Triangle(), 4), x, incoming)
    (expected,) = torch.autograd.grad(reference(x, constants(), Triangle(), 4), x, incoming)
    torch.testing.assert_close(found, expected)
    (ones,) = torch.autograd.grad(fused_spikes(x, constants(), Triangle(), 4).sum(), x)  # strides of 0
    torch.testing.assert_close(ones, torch.autograd.grad(reference(x, constants(), Triangle(), 4).sum(), x)[0])


@slopes
@resets
@detaching
def test_second_derivatives_equal_the_references(slope: Slope, hard_reset: bool, detach_reset: bool) -> None:
    for constant in (False, True):
        x = currents(1 if constant else 3).requires_grad_()
        dynamics = constants(hard_reset, detach_reset)
        inputs = (x, dynamics.leak, dynamics.threshold)

        def second(spikes: Tensor, inputs: tuple[Tensor, ...] = inputs) -> tuple[Tensor, ...]:
            first = derivatives(spikes, *inputs, create_graph=True)
            return torch.autograd.grad(
                sum((g**2).sum() for g in first), inputs, allow_unused=True, materialize_grads=True
            )

        found = second(fused_spikes(x, dynamics, slope, 3))
        for a, b in zip(found, second(reference(x, dynamics, slope, 3)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_third_derivatives_equal_the_references() -> None:
    slope = spikeproof.snn.ATan()  # smooth: the third derivative is not zero
    x = currents(3).requires_grad_()

    def third(spikes: Tensor) -> Tensor:
        (first,) = derivatives(spikes, x, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), x, create_graph=True)
        return torch.autograd.grad((second**2).sum(), x)[0]

    found = third(fused_spikes(x, constants(), slope, 3))
    torch.testing.assert_close(found, third(reference(x, constants(), slope, 3)), rtol=1e-9, atol=1e-10)
    assert found.abs().sum() > 0


def test_the_incoming_gradient_is_differentiable_too() -> None:
    x, scale = currents(3).requires_grad_(), torch.tensor(1.5, dtype=torch.float64, requires_grad=True)

    def mixed(spikes: Tensor) -> Tensor:
        (first,) = torch.autograd.grad((scale**2 * spikes).sum(), x, create_graph=True)
        return torch.autograd.grad((first**2).sum(), scale)[0]

    found = mixed(fused_spikes(x, constants(), Triangle(), 3))
    torch.testing.assert_close(found, mixed(reference(x, constants(), Triangle(), 3)))
    assert found != 0


def test_float32_spikes_are_equal_exactly_on_dyadic_currents() -> None:
    """With a leak of 1/2 and multiples of 1/16 nothing is rounded: no room for 'close'."""
    x = torch.randint(-16, 24, (8, 1000), generator=torch.Generator().manual_seed(0)) / 16
    for hard_reset in (True, False):
        dynamics = Leaky(torch.tensor(0.5), torch.tensor(1.0), hard_reset)
        trace = integrate(x, dynamics, Triangle())
        assert (trace.potentials == 1).any()  # the case that rounding would decide
        assert torch.equal(fused_spikes(x, dynamics, Triangle(), 8), trace.spikes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
def test_lower_precision(dtype: torch.dtype, constant: bool) -> None:
    x = currents(1 if constant else 4).to(dtype).requires_grad_()
    dynamics = Leaky(torch.tensor(0.5, requires_grad=True), torch.tensor(1.0, requires_grad=True))
    inputs = (x, dynamics.leak, dynamics.threshold)
    spikes, expected = fused_spikes(x, dynamics, Triangle(), 4), reference(x, dynamics, Triangle(), 4)
    assert spikes.dtype == dtype
    assert torch.equal(spikes, expected)
    # In the reference each step's gradient on a constant current is rounded to `dtype` before they are summed.
    rough = 4 * torch.finfo(dtype).eps
    for a, b in zip(derivatives(spikes, *inputs), derivatives(expected, *inputs), strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=rough, atol=8 * rough)


def test_the_backward_keeps_nothing_but_the_currents() -> None:
    saved: list[Tensor] = []
    x = currents(8).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        fused_spikes(x, constants(learned=False), Triangle(), 8)
    assert sum(t.numel() for t in saved) == x.numel() + 2  # leak and threshold


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What is known about this machine's compiler, forgotten before and after."""
    compiling.can_compile.cache_clear()
    yield
    compiling.can_compile.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_without_a_compiler_layers_run_eagerly_and_say_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "COMPILE_FROM_ELEMENTS", 0)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv(compiling.SWITCH)
    monkeypatch.setattr(compiling, "_compiled", lambda *_: pytest.fail("compiled without a compiler"))
    x = currents(4)
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler") as warned:
        spikes = fused_spikes(x, constants(), Triangle(), 4)
    assert len(warned) == 1
    assert torch.equal(spikes, reference(x, constants(), Triangle(), 4))
    assert torch.equal(fused_spikes(x, constants(), Triangle(), 4), spikes)  # a second warning would be an error


def test_where_the_compiler_fails_a_layer_runs_eagerly_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[int] = []

    def failing(*args: object, **kwargs: object) -> Callable:
        def compiled(*tensors: Tensor) -> None:
            attempts.append(1)
            raise TorchDynamoException("no such instruction")

        return compiled

    monkeypatch.setattr(compiling, "COMPILE_FROM_ELEMENTS", 0)
    monkeypatch.setattr(compiling, "can_compile", lambda device: True)
    monkeypatch.setattr("torch.compile", failing)
    x, slope = currents(4), Triangle(width=0.123)  # a plan that no other test has compiled
    compiling._compiled.cache_clear()
    with pytest.warns(UserWarning, match="runs eagerly.*no such instruction"):
        spikes = fused_spikes(x, constants(), slope, 4)
    assert torch.equal(spikes, reference(x, constants(), slope, 4))
    assert torch.equal(fused_spikes(x, constants(), slope, 4), spikes)  # a second warning would be an error
    assert len(attempts) == 1
    compiling._compiled.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_the_environment_can_switch_compilation_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiling.SWITCH, "0")
    assert not compiling.can_compile("cpu")  # and no warning: it was asked for


@pytest.mark.parametrize("steps", [compiling.COMPILE_UP_TO_STEPS, compiling.COMPILE_UP_TO_STEPS + 1])
def test_sequences_too_long_to_unroll_are_not_compiled(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    compiled: list[Callable] = []

    def pretend(function: Callable, plan: object) -> Callable:
        compiled.append(function)
        return lambda *tensors: function(plan, *tensors)

    monkeypatch.setattr(compiling, "COMPILE_FROM_ELEMENTS", 0)
    monkeypatch.setattr(compiling, "can_compile", lambda device: True)
    monkeypatch.setattr(compiling, "_compiled", pretend)
    x = torch.randn(steps, 6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    spikes = fused_spikes(x, constants(), Triangle(), steps)
    expected = reference(x, constants(), Triangle(), steps)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(derivatives(spikes, x)[0], derivatives(expected, x)[0])
    assert bool(compiled) == (steps <= compiling.COMPILE_UP_TO_STEPS)


@pytest.mark.parametrize("steps", [2, 4])
def test_the_wrong_number_of_steps_is_refused(steps: int) -> None:
    layer = spikeproof.snn.LIF().layer(3)
    with pytest.raises(UserError, match=f"3 time steps, the input has {steps}"):
        layer(torch.zeros(steps, 1, 2))

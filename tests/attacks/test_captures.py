"""Do steps that run as a graph, between two looks of the host, find what steps taken one by one find?

On a CPU a tape stands for a CUDA graph: it too does the operations on tensors again, at the same addresses, and none of
the Python around them.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spikeproof.attacks import APGD, FGSM, PGD, RFGSM, SAPGD, Along, Attack, Linf, Margin, Square, Threat, captures
from spikeproof.attacks import engine as engine_module
from spikeproof.attacks.attack import Outcome
from spikeproof.attacks.captures import EVERY, Pace, pace_on
from spikeproof.snn import ASSG, Triangle
from tests.attacks.test_engine import SEED, STATIC, Batch, named, small, spiking
from tests.test_shortage import SHORT


class Tape(TorchDispatchMode):
    """Writes down what is done with tensors, and does it again; refuses what a CUDA graph refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.plays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        found = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, found))
        return found

    @torch.no_grad()
    def play(self) -> None:
        self.plays += 1
        for func, args, kwargs, made in self.calls:
            for old, new in zip(tree_leaves(made), tree_leaves(func(*args, **kwargs)), strict=True):
                if (
                    isinstance(old, Tensor) and old.data_ptr() != new.data_ptr()
                ):  # neither a view nor done in place: where the first one lay
                    old.copy_(new)


@pytest.fixture
def tapes() -> list[Tape]:
    return []


def on(tapes: list[Tape], every: int = 3) -> Pace:
    """Steps as graphs, which are tapes here."""

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        with Tape() as tape:
            work()
        assert len(tape.calls) > 10
        tapes.append(tape)
        return tape.play

    return Pace(every, True, capture)


def attacked(
    attack: Attack, threat: Threat, batch: Batch, pace: Pace, monkeypatch: pytest.MonkeyPatch, **how: Any
) -> Outcome:
    monkeypatch.setattr(engine_module, "pace_on", lambda device: pace)
    return attack.run(*batch[:3], threat, seed=SEED, index=batch.index, **how)


def same(found: Outcome, expected: Outcome) -> None:
    torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-12)
    assert torch.equal(found.gradients, expected.gradients)
    assert torch.equal(found.forwards, expected.forwards)


@pytest.mark.parametrize("stop", [False, True], ids=["to the end", "stop"])
@pytest.mark.parametrize(("attack", "threat"), STATIC, ids=named)
def test_the_host_may_look_seldom(attack: Attack, threat: Threat, stop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = spiking() if isinstance(attack, SAPGD) else small(1, 4, 4)
    expected = attacked(attack, threat, batch, Pace(), monkeypatch, stop=stop)
    for pace, width in ((Pace(3, True), 4), (Pace(5, True), None), (Pace(2), 3)):
        same(attacked(attack, threat, batch, pace, monkeypatch, stop=stop, width=width), expected)


GRAPHS = [
    (PGD(steps=9, restarts=2), small),
    (APGD(steps=10, loss=Margin()), small),
    (Square(queries=20, restarts=2), small),
    (Along(attack=PGD(steps=9, restarts=2), paths=(ASSG(), Triangle())), spiking),
    (Along(attack=SAPGD(steps=9), paths=(ASSG(),)), spiking),
]


@pytest.mark.parametrize("stop", [False, True], ids=["to the end", "stop"])
@pytest.mark.parametrize(("attack", "batch"), GRAPHS, ids=lambda value: getattr(value, "__name__", named(value)))
def test_a_graph_finds_the_same(
    attack: Attack, batch: Callable[..., Batch], stop: bool, tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = batch(1, 4, 4) if batch is small else batch()
    expected = attacked(attack, Linf(0.05), given, Pace(), monkeypatch, stop=stop)
    for width in (3, None):
        same(attacked(attack, Linf(0.05), given, on(tapes), monkeypatch, stop=stop, width=width), expected)
    assert sum(tape.plays for tape in tapes) > 2 * len(tapes) > 0


@pytest.fixture(autouse=True)
def few_rows_and_steps_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "SMALLEST", 1)
    monkeypatch.setattr(engine_module, "WORTH_A_GRAPH", 1)


def test_only_the_cpu_looks_after_every_step() -> None:
    assert pace_on(torch.device("cpu")) == Pace(every=1, powers=False, capture=None)
    on_cuda = pace_on(torch.device("cuda"))
    assert (on_cuda.every, on_cuda.powers, on_cuda.capture) == (EVERY, True, captures.cuda_graph)


def test_widths_are_powers_of_two_at_most_the_width_asked_for() -> None:
    widths = [Pace(8, True).width(rows, 100) for rows in (0, 1, 2, 3, 4, 5, 9, 64, 65, 100)]
    assert widths == [0, 1, 2, 4, 4, 8, 16, 64, 100, 100]
    assert [Pace().width(rows, 100) for rows in (0, 1, 3, 65)] == [0, 1, 3, 65]


def test_rows_are_sorted_when_it_is_worth_it() -> None:
    seldom = Pace(8, True)
    assert not seldom.worth(leaving=0, active=64, rows=64, waiting=9)
    assert not seldom.worth(leaving=7, active=64, rows=64, waiting=9)
    assert seldom.worth(leaving=8, active=64, rows=64, waiting=9)  # an eighth
    assert seldom.worth(leaving=2, active=34, rows=64, waiting=0)  # 32 rows are enough
    assert not seldom.worth(leaving=2, active=34, rows=64, waiting=9)
    assert seldom.worth(leaving=3, active=3, rows=64, waiting=9)  # nobody is left
    assert Pace().worth(leaving=1, active=64, rows=64, waiting=9)


def test_a_batch_shrinks_by_halves(tapes: list[Tape], monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven images in rows of 4, then 2, then 1: one graph for each, whatever leaves when."""
    batch = small(1, 4, 4)
    sizes: list[int] = []
    batch.model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    outcome = attacked(PGD(steps=12), Linf(0.1), batch, on(tapes), monkeypatch, stop=True, width=4)
    assert len(outcome.gradients.unique()) > 2
    looked_at_last = {1, 2, 3, 4}
    assert set(sizes) <= looked_at_last
    assert 1 < len(tapes) <= 3


def test_a_network_that_looks_at_the_host_runs_without_a_graph(
    tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looking(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x) * (1 if float(x.detach().sum()) > 0 else -1)

    batch = small(1, 4, 4)
    expected = attacked(PGD(steps=9), Linf(0.05), batch, Pace(), monkeypatch)
    with pytest.warns(UserWarning, match="without a graph, more slowly: operation not permitted") as warned:
        found = attacked(PGD(steps=9), Linf(0.05), batch._replace(model=Looking(batch.model)), on(tapes), monkeypatch)
    assert len(warned) == 1
    assert not tapes
    same(found, expected)


def test_a_graph_that_answers_otherwise_is_not_used(tapes: list[Tape], monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph whose hidden layer reads what it should not."""
    right = on(tapes).capture
    assert right is not None

    def wrong(work: Callable[[], None]) -> Callable[[], None]:
        replay = right(work)
        tape = tapes[-1]
        tape.calls = [
            (func, (args[0] + 1, *args[1:]), kwargs, made) if func is torch.ops.aten.relu.default else call
            for call in tape.calls
            for func, args, kwargs, made in [call]
        ]
        return replay

    batch = small(1, 4, 4)
    expected = attacked(PGD(steps=9), Linf(0.05), batch, Pace(), monkeypatch)
    with pytest.warns(UserWarning, match="its graph sees other losses than the step itself"):
        found = attacked(PGD(steps=9), Linf(0.05), batch, Pace(3, True, wrong), monkeypatch)
    assert len(tapes) == 1
    same(found, expected)


def test_what_a_network_draws_is_not_captured(tapes: list[Tape], monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy(nn.Module):
        stochastic = True

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x + 0.01 * torch.randn_like(x))

    batch = small(1, 4, 4)
    outcome = attacked(PGD(steps=9), Linf(0.05), batch._replace(model=Noisy(batch.model)), on(tapes), monkeypatch)
    assert not tapes
    assert (outcome.gradients == 9).all()


@pytest.mark.parametrize("short", [each for each in SHORT.values() if isinstance(each, RuntimeError)], ids=str)
def test_memory_that_runs_out_is_told_as_it_is(short: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation goes on at half the width; going on without a graph would need no less."""

    def full(work: Callable[[], None]) -> Callable[[], None]:
        raise short

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(type(short)) as caught:
            attacked(PGD(steps=9), Linf(0.05), small(1, 4, 4), Pace(3, True, full), monkeypatch)
    assert caught.value is short


LAST = [
    PGD(steps=5, keep="last"),
    PGD(steps=4, keep="last", momentum=1.0, nesterov=True, start="near"),
    FGSM(),
    RFGSM(),
]


@pytest.mark.parametrize("attack", LAST, ids=named)
def test_training_attacks_without_a_look_or_a_capture(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last image counts all take the same steps. A graph for each batch would cost more than it saves."""

    def none(work: Callable[[], None]) -> Callable[[], None]:
        raise AssertionError("a graph for a few steps")

    def looked(*args: object) -> bool:
        raise AssertionError("the engine looked")

    batch = small(1, 4, 4)
    expected = attacked(attack, Linf(0.05), batch, Pace(), monkeypatch, width=3)  # in turns, so the engine looks
    monkeypatch.setattr(engine_module.Climb, "_worth", looked)
    found = attacked(attack, Linf(0.05), batch, Pace(3, True, none), monkeypatch)
    same(found, expected)
    assert found.x.dtype == batch.x.dtype
    assert not torch.equal(found.x, batch.x)


def test_a_few_steps_are_not_worth_a_graph(tapes: list[Tape], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the host look later than after the last step."""
    monkeypatch.setattr(engine_module, "WORTH_A_GRAPH", captures.WORTH_A_GRAPH)
    batch = small(1, 4, 4)
    passes: list[int] = []
    batch.model.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    attacked(PGD(steps=3), Linf(1e-6), batch, on(tapes, every=8), monkeypatch)
    assert not tapes
    assert len(passes) == 1 + 3 + 1  # the checked step, three more with one of them for nobody, and the last look

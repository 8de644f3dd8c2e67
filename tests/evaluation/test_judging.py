"""How does a judge attack: in which precision, and what does it do when memory runs out?"""

import warnings

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import PGD, Linf, Square
from spikeproof.evaluation.judging import Judge
from tests.test_shortage import SHORT


class Noted(nn.Module):
    """A linear network that notes what each pass is: whether it has gradients, its type, and its images."""

    stochastic = False

    def __init__(self, room: int = 1000, short: Exception | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(16, 4)
        self.room = room
        self.short = short or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.passes: list[tuple[bool, torch.dtype, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        wanted = torch.is_grad_enabled() and x.requires_grad
        if wanted and len(x) > self.room:
            raise self.short
        logits = self.layer(x.flatten(1))
        self.passes.append((wanted, logits.dtype, len(x)))
        return logits


def images(count: int = 12) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    x = torch.rand(count, 1, 4, 4)
    return x, torch.arange(count) % 4


@pytest.mark.parametrize(("precision", "seen"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_attacks_see_the_precision_that_was_chosen_and_judgements_float32(precision: str, seen: torch.dtype) -> None:
    model, (x, y) = Noted(), images()
    judge = Judge(model, draws=1, vote=False, batch=12, precision=precision, fresh=lambda: model)  # type: ignore[arg-type]
    judge.attacked = seen_by_attacks = Noted()
    judge(PGD(steps=3), x, y, Linf(0.1), seed=0)
    assert {dtype for _, dtype, _ in seen_by_attacks.passes} == {seen}
    assert any(wanted for wanted, _, _ in seen_by_attacks.passes)
    assert {dtype for _, dtype, _ in model.passes} == {torch.float32}


def test_losses_of_a_network_in_bf16_have_32_bits() -> None:
    """Else steps smaller than 1/128 of the loss would look like none."""
    seen: list[torch.dtype] = []

    class Noting(PGD):
        def step(self, query, state):  # type: ignore[no-untyped-def]
            found = super().step(query, state)
            seen.append(query.asked.dtype)
            return found

    judge = Judge(Noted(), draws=1, vote=False, precision="bf16")
    judge(Noting(steps=2), *images(), Linf(0.1), seed=0)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("short", SHORT.values(), ids=SHORT)
def test_it_goes_on_at_half_the_width_where_memory_runs_out(short: Exception) -> None:
    x, y = images()
    attack = PGD(steps=4, restarts=2)
    expected = Judge(Noted(), draws=1, vote=False, batch=3)(attack, x, y, Linf(0.1), seed=0)
    narrow = Judge(Noted(room=3, short=short), draws=1, vote=False, batch=12)
    with pytest.warns(UserWarning, match="from here on . images are attacked side by side") as told:
        found = narrow(attack, x, y, Linf(0.1), seed=0)
    assert [str(one.message).split()[6] for one in told] == ["6", "3"]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        narrow(attack, x, y, Linf(0.1), seed=0)  # it stays narrow


def test_a_single_image_that_does_not_fit_is_an_error() -> None:
    judge = Judge(Noted(room=0), draws=1, vote=False, batch=2)
    with pytest.warns(UserWarning, match="from here on 1 image is attacked"), pytest.raises(torch.OutOfMemoryError):
        judge(PGD(steps=2), *images(), Linf(0.1), seed=0)


def test_a_control_needs_no_room_for_gradients() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Judge(Noted(room=0), draws=1, vote=False, batch=2)(Square(queries=3), *images(), Linf(0.1), seed=0)

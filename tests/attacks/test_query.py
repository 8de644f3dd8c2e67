"""Does a query count each answer, keep the best image, and give rows back in their places?"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import CrossEntropy, Linf, Margin
from spikeproof.attacks.query import Answer, Query, Slots, Task, joined, per_image, taken
from spikeproof.choices import UserError
from spikeproof.randomness import Streams
from tests.attacks.outcomes import asked


class Sum(nn.Module):
    """Two classes: 0, and the sum of the pixels less 1."""

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1).sum(1) - 1
        return torch.stack([torch.zeros_like(value), value], 1)


@pytest.fixture
def query() -> Query:
    """Three images of two pixels, of the first class."""
    return asked(Sum(), torch.tensor([[0.1, 0.2], [0.4, 0.1], [0.3, 0.3]]), torch.zeros(3, dtype=torch.long), Linf(0.5))


def test_each_answer_is_counted_for_its_rows(query: Query) -> None:
    x, rows = query.x, torch.tensor([2, 0])
    query.gradient(x, Margin())
    query.gradient(x[rows], Margin(), rows=rows)
    query.answer(x, Margin())
    query.answer(x[rows], Margin(), rows=rows)
    query.logits(x[[1, 1, 1, 0]], rows=torch.tensor([1, 1, 1, 0]))  # each time counts
    assert query.slots.gradients.tolist() == [2, 1, 2]
    assert query.slots.forwards.tolist() == [5, 5, 4]
    query.spend(torch.tensor([10, 20]), torch.tensor([1, 2]), rows)
    assert query.slots.gradients.tolist() == [22, 1, 12]
    assert query.slots.forwards.tolist() == [7, 5, 5]


def test_passes_are_averaged_and_all_counted() -> None:
    class Alternating(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return (self.calls % 2 * 2) * torch.cat([x, -x], 1)

    x, y = torch.tensor([[0.5]]), torch.tensor([0])
    query = asked(Alternating(), x, y, Linf(), eot=4)
    slope, answer = query.gradient(x, Margin())
    assert slope.item() == pytest.approx(-2)  # of -2x; a pass says 2 or 0 times as much as the mean of 1
    assert answer.loss.item() == pytest.approx(-1)
    assert query.slots.gradients.item() == query.slots.forwards.item() == 4
    torch.testing.assert_close(query.logits(x), torch.tensor([[0.5, -0.5]]))
    assert query.slots.forwards.item() == 8


def test_the_gradient_and_its_answer(query: Query) -> None:
    slope, answer = query.gradient(query.x, Margin())
    assert torch.equal(slope, torch.ones(3, 2))
    torch.testing.assert_close(answer.loss, torch.tensor([-0.7, -0.5, -0.4]))
    assert not answer.broken.any()
    other, answer = query.gradient(query.x, Margin(), y=torch.ones(3, dtype=torch.long))
    assert torch.equal(other, -slope)
    assert answer.broken.all()


def test_a_broken_image_is_kept_before_one_of_larger_loss(query: Query) -> None:
    z = query.x + 0.01

    def kept(loss: float, broken: bool) -> bool:
        nonlocal z
        z = z + 0.01
        query.offer(z, Answer(torch.full((3,), loss), torch.full((3,), broken)))
        return torch.equal(query.slots.found, z)

    assert torch.equal(query.slots.found, query.x)
    seen = [(-1.0, False), (-2.0, False), (-1.0, False), (-0.5, False), (-9.0, True), (5.0, False), (-8.0, True)]
    assert [kept(*each) for each in seen] == [True, False, False, True, True, False, True]
    assert query.slots.loss.tolist() == [-8.0] * 3
    assert query.slots.broken.all()


def test_offers_of_some_rows_leave_the_others(query: Query) -> None:
    rows, z = torch.tensor([2, 0]), torch.tensor([[0.9, 0.9], [0.0, 0.0]])
    before = query.slots.found
    query.offer(z, Answer(torch.tensor([1.0, -3.0]), torch.tensor([True, False])), rows)
    assert torch.equal(query.slots.found, torch.tensor([[0.0, 0.0], [0.4, 0.1], [0.9, 0.9]]))
    assert query.slots.broken.tolist() == [False, False, True]
    assert query.slots.loss.tolist() == [-3.0, -torch.inf, 1.0]
    assert torch.equal(before, query.x)  # what was given away is not written into
    query.keeps = False
    query.offer(z + 0.1, Answer(torch.tensor([9.0, 9.0]), torch.tensor([True, True])), rows)
    assert query.slots.loss.tolist() == [-3.0, -torch.inf, 1.0]


def test_nothing_is_offered_where_an_attack_only_asks(query: Query) -> None:
    query.gradient(query.x + 0.3, Margin(), offer=False)
    query.answer(query.x + 0.3, Margin(), offer=False)
    query.logits(query.x + 0.3)
    assert torch.equal(query.slots.found, query.x)
    assert not query.slots.broken.any()


def test_what_is_left(query: Query) -> None:
    query.answer(torch.tensor([[0.9, 0.9], [0.1, 0.1], [0.1, 0.1]]), Margin())
    assert query.left().tolist() == [0, 1, 2]
    stopping = Query(query.task.of(torch.arange(3)), query.slots, 1)
    object.__setattr__(stopping.task, "stop", True)
    assert stopping.left().tolist() == [1, 2]


def test_a_gradient_that_is_cut_or_not_finite_is_zero() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Sum()(x.detach())

    class Steep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Sum()((x - x.detach()).sqrt())

    x, y = torch.rand(3, 2), torch.zeros(3, dtype=torch.long)
    for model in (Cut(), Steep()):
        slope, _ = asked(model, x, y, Linf()).gradient(x, CrossEntropy())
        assert torch.equal(slope, torch.zeros(3, 2))


def test_a_model_is_checked_once_and_no_more() -> None:
    class Writing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x -= 0.5
            return Sum()(x)

    x, y = torch.rand(3, 2), torch.zeros(3, dtype=torch.long)
    with pytest.raises(UserError, match="writes into its input"):
        asked(Writing(), x, y, Linf()).answer(x, Margin())
    with pytest.raises(UserError, match="logits"):
        asked(nn.Flatten(0), x, y, Linf()).answer(x, Margin())
    with pytest.raises(UserError, match="label 2 of image 1"):
        asked(Sum(), x, torch.tensor([0, 2, 0]), Linf()).answer(x, Margin())
    query = asked(Sum(), x, y, Linf())
    assert not query.checked
    query.answer(x, Margin())
    assert query.checked


def test_each_step_and_leg_has_numbers_of_its_own(query: Query) -> None:
    def drawn(number: int, leg: int) -> list[float]:
        ones = torch.ones_like(query.slots.number)
        query.slots = query.slots._replace(number=number * ones, leg=leg * ones)
        assert torch.equal(query.streams.uniform(4, like=query.x), query.streams.uniform(4, like=query.x))
        return query.streams.uniform(4, like=query.x).flatten().tolist()

    seen = [number for step in (0, 1, 2) for leg in (0, 1) for number in drawn(step, leg)]
    assert len(set(seen)) == 6 * 12


class Inner(NamedTuple):
    a: Tensor


class Outer(NamedTuple):
    b: Tensor
    inner: Inner
    more: tuple[Tensor, ...]


def test_rows_of_nested_records() -> None:
    first = Outer(torch.arange(3), Inner(torch.arange(6).view(3, 2)), (torch.ones(3, 1),))
    some = taken(first, torch.tensor([2, 0]))
    assert isinstance(some, Outer)
    assert isinstance(some.inner, Inner)
    assert some.b.tolist() == [2, 0]
    assert some.inner.a.tolist() == [[4, 5], [0, 1]]
    both = joined(some, first)
    assert both.b.tolist() == [2, 0, 0, 1, 2]
    assert torch.equal(taken(both, torch.tensor([1, 3])).inner.a, first.inner.a[:2])
    empty = first._replace(more=())
    assert joined(some, empty).more[0].flatten().tolist() == [1, 1, 0, 0, 0]  # what one does not have yet is 0
    assert joined(empty, some).more[0].flatten().tolist() == [0, 0, 0, 1, 1]


def test_a_task_of_some_images_and_of_another_turn() -> None:
    x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1])
    task = Task(Sum(), x, y, Linf(), Streams.of(0, torch.arange(4)), stop=False)
    rows = torch.tensor([3, 1])
    part = task.of(rows)
    assert torch.equal(part.x, x[rows])
    assert torch.equal(part.y, y[rows])
    assert torch.equal(part.streams.key, task.streams.key[rows])
    assert torch.equal(task.turned(2).of(rows).streams.key, part.turned(2).streams.key)
    assert not torch.equal(task.turned(2).streams.key, task.turned(3).streams.key)


def test_the_next_leg_keeps_what_was_found() -> None:
    x = torch.rand(2, 2)
    task = Task(Sum(), x, torch.zeros(2, dtype=torch.long), Linf(), Streams.of(0, torch.arange(2)), stop=False)
    slots = Slots.of(task, torch.tensor([1, 0]))
    assert slots.place.tolist() == [1, 0]
    assert torch.equal(slots.x, x[[1, 0]])
    slots = slots._replace(number=slots.number + 5, memory=(torch.ones(2, 3),), loss=torch.tensor([1.0, 2.0]))
    anew = slots.again()
    assert anew.leg.tolist() == [1, 1]
    assert anew.number.tolist() == [0, 0]
    assert not anew.memory[0].any()
    assert torch.equal(anew.loss, slots.loss)


def test_values_in_the_shape_of_images() -> None:
    x = torch.ones(2, 3, 4, 5)
    assert per_image(torch.tensor([1.0, 2.0]), x).shape == (2, 1, 1, 1)
    assert per_image(torch.ones(7, 2), x).shape == (7, 2, 1, 1, 1)


def test_no_more_images_go_into_one_pass_than_may_lie_side_by_side() -> None:
    """What looks at all images of a task at once, as `Along` does, is asked about thousands on an accelerator."""
    model, seen = Sum(), []
    model.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    x, y = torch.rand(600, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(600, dtype=torch.long)
    task = Task(model, x, y, Linf(0.5), Streams.fresh(x), stop=False, width=16)
    query = Query.over(task, eot=1)
    assert torch.equal(query.logits(x), Sum()(x))
    assert seen == [256, 256, 88]
    assert (query.slots.forwards == 1).all()

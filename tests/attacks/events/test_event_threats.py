"""Is a threat on recordings the set it says? It is held against loops over events, in 10,000 random trials of each."""

import dataclasses
import json
import math
from collections.abc import Iterator
from functools import cache
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeproof.attacks import EventEdits, EventFlips, FrameL2, FrameLinf, Linf, Retiming, Threat
from spikeproof.attacks.events.moves import affordable, chosen, placed, written
from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config

TRIALS = 10_000  # of each kind of threat
BATCH = 200  # trials an example
quick = settings(max_examples=TRIALS // BATCH, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**30)
SHAPES = [(1, 1, 1, 1), (1, 2, 2, 3), (2, 1, 1, 1), (3, 2, 1, 2), (4, 1, 3, 2), (5, 2, 3, 3), (9, 1, 1, 2)]
budgets = st.sampled_from([0, 1, 2, 3, 5, 8, 20, 1000])  # the last: more than there are cells
caps = st.sampled_from([None, 0, 1, 2, 1000])
sizes = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.3, 7.0, 1000.0])
tops = st.sampled_from([None, 20_000.0])
KINDS = {
    "frame Linf": st.builds(FrameLinf, sizes, tops),
    "frame L2": st.builds(FrameL2, sizes, tops),
    "flips": st.builds(EventFlips, budgets, only=st.none()),
    "insertions": st.builds(EventFlips, budgets, only=st.just("insert")),
    "deletions": st.builds(EventFlips, budgets, only=st.just("delete")),
    "edits": st.builds(EventEdits, budgets),
    "bounded edits": st.builds(EventEdits, budgets, add=caps, remove=caps, move=caps),
    "edits of binary frames": st.builds(EventEdits, budgets, add=caps, remove=caps, move=caps, most=st.just(1)),
    "jitter": st.builds(Retiming, budgets, by=st.just("jitter")),
    "delay": st.builds(Retiming, budgets, by=st.just("delay")),
    "moved": st.builds(Retiming, budgets, by=st.just("moved")),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
EXAMPLES = (
    FrameLinf(),
    FrameL2(),
    EventFlips(),
    EventEdits(),
    EventEdits(most=1),
    Retiming(),
    Retiming(by="delay"),
    Retiming(by="moved"),
)
every_threat = pytest.mark.parametrize("threat", EXAMPLES, ids=str)


def of_binary_frames(threat: Threat) -> bool:
    return isinstance(threat, Retiming) or getattr(threat, "capacity", math.inf) == 1


def recordings(threat: Threat, shape: tuple[int, ...], count: int = BATCH) -> Tensor:
    """Random frames that the threat is about: empty ones, sparse and dense and full ones, and where they may be counts
    some of hundreds and thousands of events a cell."""
    density = torch.tensor([0, 0.1, 0.5, 0.9, 1])[torch.randint(0, 5, (count,))]
    x = (torch.rand(count, *shape) < density.view(-1, 1, 1, 1, 1)).float()
    if of_binary_frames(threat):
        return x
    most = torch.tensor([1, 2, 5, 300, 20_000])[torch.randint(0, 5, (count,))].view(-1, 1, 1, 1, 1)
    return x * (1 + (torch.rand(x.shape) * most).floor()).clamp(max=20_000)


def disturbed(threat: Threat, x: Tensor) -> Tensor:
    """Each recording in one of many ways: soft, far away, no numbers, whole but too many, shuffled, and allowed."""
    start, elsewhere = threat.start(x), recordings(threat, tuple(x.shape[1:]), len(x))
    order = torch.rand(x.shape).argsort(1)
    few = torch.rand(x.shape) < 0.3
    ways = [
        x + torch.randn(x.shape),
        x + (torch.rand(x.shape) < 0.2) * torch.randn(x.shape).round(),
        1e6 * torch.randn(x.shape),
        x + torch.where(few, torch.randn(x.shape).sign() * 3e38, 0.0),
        x.masked_fill(few, math.nan),
        x.masked_fill(few, math.inf),
        start.masked_fill(few, -math.inf),
        elsewhere,
        1 - x,
        x.gather(1, order),
        x.roll(1, 1),
        start,
        start + (torch.rand(x.shape) < 0.1).float(),
        start - (torch.rand(x.shape) < 0.1).float(),
        x,
    ]
    return torch.stack(ways)[torch.randint(0, len(ways), (len(x),)), torch.arange(len(x))]


@every_kind
@given(data=st.data(), shape=st.sampled_from(SHAPES), seed=seeds)
@quick
def test_nothing_leaves_its_budget(kind: str, data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    """10,000 trials of each kind: 50 examples, of 200 recordings each."""
    threat = data.draw(KINDS[kind])
    torch.manual_seed(seed)
    x = recordings(threat, shape)
    threat.check(x)
    z = disturbed(threat, x)
    before = x.clone(), z.clone()
    allowed = threat.project(z, x)
    assert allowed.shape == x.shape
    assert allowed.dtype == x.dtype
    assert threat.contains(allowed, x).all()
    assert threat.contains(threat.start(x), x).all()
    assert torch.equal(threat.distance(x, x), torch.zeros(len(x)))
    inside = threat.contains(z, x)
    slack = 1e-6 * (1 + threat.eps) if isinstance(threat, FrameL2) else 0
    torch.testing.assert_close(allowed[inside], z[inside], rtol=slack and 1e-6, atol=slack)
    torch.testing.assert_close(threat.project(allowed, x), allowed, rtol=slack and 1e-6, atol=slack)
    torch.testing.assert_close((x, z), before, rtol=0, atol=0, equal_nan=True)
    if not threat.eps:
        torch.testing.assert_close(allowed, x, rtol=0, atol=1e-6)  # rounding is forgiven, whatever eps


@every_kind
@given(data=st.data(), shape=st.sampled_from(SHAPES), seed=seeds)
@settings(quick, max_examples=20)
def test_recordings_of_a_batch_do_not_meet(kind: str, data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    threat = data.draw(KINDS[kind])
    torch.manual_seed(seed)
    x = recordings(threat, shape, 12)
    z = disturbed(threat, x)
    together = threat.project(z, x), threat.distance(z, x), threat.contains(z, x)
    rows = [(z[i : i + 1], x[i : i + 1]) for i in range(len(x))]
    alone = [torch.cat([f(*row) for row in rows]) for f in (threat.project, threat.distance, threat.contains)]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6, equal_nan=True)


@every_threat
def test_memory_layout_and_precision_do_not_matter(threat: Threat) -> None:
    torch.manual_seed(0)
    x = recordings(threat, (5, 2, 3, 4), 20)
    z = disturbed(threat, x)
    inner = lambda t: t.permute(1, 3, 4, 2, 0).contiguous().permute(4, 0, 3, 1, 2)  # noqa: E731
    assert not inner(x).is_contiguous()
    torch.testing.assert_close(threat.project(inner(z), inner(x)), threat.project(z, x))
    torch.testing.assert_close(threat.distance(inner(z), inner(x)), threat.distance(z, x), equal_nan=True)
    torch.manual_seed(1)
    start = threat.start(x)
    torch.manual_seed(1)
    if not isinstance(threat, FrameLinf | FrameL2):
        assert torch.equal(threat.start(inner(x)), start)
    double = threat.project(z.double(), x.double())
    assert double.dtype == torch.float64
    assert threat.contains(double, x.double()).all()
    assert threat.start(x.double()).dtype == torch.float64


# Slow references: loops over events and over all ways to pair them.

Cell = tuple[int, ...]


def events_of(frames: Tensor) -> dict[Cell, list[int]]:
    """The frames of the events of each polarity and pixel that has any, in order; one recording of whole counts."""
    found: dict[Cell, list[int]] = {}
    for t, *cell in frames.nonzero().tolist():
        found.setdefault(tuple(cell), []).extend([t] * int(frames[(t, *cell)]))
    return found


def pixels_of(*recordings: Tensor) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Pixel by pixel, the frames of the events of each recording."""
    found = [events_of(frames) for frames in recordings]
    for cell in sorted(set().union(*found)):
        yield tuple(tuple(events.get(cell, ())) for events in found)


def whole(frames: Tensor) -> bool:
    return all(math.isfinite(v) and v >= 0 and v == int(v) for v in frames.flatten().tolist())


def flips_by_loop(threat: EventFlips, z: Tensor, x: Tensor) -> float:
    values = list(zip(z.flatten().tolist(), x.flatten().tolist(), strict=True))
    if any(after not in (0, 1) for after, _ in values):
        return math.inf
    changes = [(before, after) for after, before in values if after != before]
    allowed = {None: {(0, 1), (1, 0)}, "insert": {(0, 1)}, "delete": {(1, 0)}}[threat.only]
    return len(changes) if set(changes) <= allowed else math.inf


@cache
def pairings(before: tuple[int, ...], after: tuple[int, ...]) -> frozenset[tuple[int, int, int]]:
    """Added, removed and moved events of a pixel, for every way to pair some events before with some after."""
    if not before:
        return frozenset({(len(after), 0, 0)})
    first, rest = before[0], before[1:]
    found = {(added, removed + 1, moved) for added, removed, moved in pairings(rest, after)}
    for i, frame in enumerate(after):
        others = pairings(rest, after[:i] + after[i + 1 :])
        found |= {(added, removed, moved + (frame != first)) for added, removed, moved in others}
    return frozenset(found)


def edits_by_loop(threat: EventEdits, z: Tensor, x: Tensor) -> float:
    """The least number of edits, over all pairings of all pixels, that keep to the bounds of each kind."""
    if not whole(z) or max(z.flatten().tolist()) > threat.capacity:
        return math.inf
    ways = {(0, 0, 0)}
    for before, after in pixels_of(x, z):
        ways = {tuple(map(sum, zip(way, more, strict=True))) for way in ways for more in pairings(before, after)}
    limits = [math.inf if cap is None else cap for cap in (threat.add, threat.remove, threat.move)]
    return min(
        (sum(way) for way in ways if all(n <= cap for n, cap in zip(way, limits, strict=True))), default=math.inf
    )


def retiming_by_loop(threat: Retiming, z: Tensor, x: Tensor) -> float:
    """The least size over all pairings of the events before with those after, pixel by pixel."""
    if any(v not in (0, 1) for v in z.flatten().tolist()):
        return math.inf
    size = {"jitter": max, "delay": sum, "moved": lambda shifts: sum(s > 0 for s in shifts)}[threat.by]
    found = []
    for before, after in pixels_of(x, z):
        if len(before) != len(after):
            return math.inf
        found.append(
            min(size([abs(a - b) for a, b in zip(order, before, strict=True)]) for order in permutations(after))
        )
    return (max if threat.by == "jitter" else sum)(found) if found else 0


def frames_by_loop(threat: FrameLinf | FrameL2, z: Tensor, x: Tensor) -> float:
    values = list(zip(z.flatten().tolist(), x.flatten().tolist(), strict=True))
    most = max(x.flatten().tolist()) if threat.most is None else threat.most
    if any(not 0 <= after <= most for after, _ in values):
        return math.inf
    changes = [abs(after - before) for after, before in values]
    return max(changes) if isinstance(threat, FrameLinf) else math.hypot(*changes)


BY_LOOP = {
    FrameLinf: frames_by_loop,
    FrameL2: frames_by_loop,
    EventFlips: flips_by_loop,
    EventEdits: edits_by_loop,
    Retiming: retiming_by_loop,
}
TINY = [(1, 1, 1, 2), (2, 2, 1, 1), (3, 1, 1, 2), (4, 1, 1, 1)]


def tiny(threat: Threat, shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    """Recordings of few events, and others that differ a little: whole, of as many events, and soft."""
    counts = not of_binary_frames(threat)
    x, other = ((torch.rand(count, *shape) < 0.4).float() for _ in range(2))
    if counts:
        x, other = (z * torch.randint(1, 3, z.shape) for z in (x, other))
    near = torch.where(torch.rand(x.shape) < 0.3, other, x)
    shuffled = x.gather(1, torch.rand(x.shape).argsort(1))
    ways = torch.stack([other, near, near, shuffled, shuffled, x + 0.7 * torch.randn(x.shape), threat.start(x)])
    return ways[torch.randint(0, len(ways), (count,)), torch.arange(count)], x


@every_kind
@given(data=st.data(), shape=st.sampled_from(TINY), seed=seeds)
@settings(quick, max_examples=25)
def test_what_is_allowed_is_what_loops_over_events_allow(
    kind: str, data: st.DataObject, shape: tuple[int, ...], seed: int
) -> None:
    threat = data.draw(KINDS[kind])
    torch.manual_seed(seed)
    z, x = tiny(threat, shape, 20)
    expected = torch.tensor([BY_LOOP[type(threat)](threat, *pair) for pair in zip(z, x, strict=True)])
    found, contained = threat.distance(z, x), threat.contains(z, x)
    if isinstance(threat, FrameLinf | FrameL2):
        clear = (expected - threat.eps).abs() > 1e-5  # beside that rounding decides
        assert torch.equal(contained[clear], (expected <= threat.eps)[clear])
        finite = expected.isfinite()
        torch.testing.assert_close(found[finite], expected[finite].float())
    else:
        assert torch.equal(contained, expected <= threat.eps)
        assert torch.equal(found, expected.float())


@pytest.mark.parametrize("kind", ["frame Linf", "frame L2"])
@given(data=st.data(), shape=st.sampled_from(SHAPES), seed=seeds)
@settings(quick, max_examples=40)
def test_no_allowed_frames_are_nearer(kind: str, data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    """A projection on a convex set: <z - p, w - p> <= 0 for every allowed w."""
    threat = data.draw(KINDS[kind])
    torch.manual_seed(seed)
    x = recordings(EventFlips(), shape) * 3
    z = x + 3 * torch.randn(x.shape)
    p, w = threat.project(z, x).double(), threat.start(x).double()
    slack = 1e-5 * (1 + (z - p).flatten(1).norm(dim=1) * (1 + (w - p).flatten(1).norm(dim=1)))
    assert (((z - p) * (w - p)).flatten(1).sum(1) <= slack).all()


@pytest.mark.parametrize("threat", [FrameLinf(0.1), FrameLinf(1.3), FrameL2(1.0), FrameL2(5.0)], ids=str)
@pytest.mark.parametrize("most", [30, 200, 5000, 100_000])
def test_large_counts_are_not_rounded_out_of_reach(threat: Threat, most: int) -> None:
    """In float32 5000 + 0.1 is 5000.1001: an attack would be refused, and a network called robust, by rounding."""
    torch.manual_seed(0)
    x = (most * torch.rand(50, 3, 2, 4, 4)).floor()
    for z in (x + torch.randn_like(x), x + threat.eps * torch.randn_like(x).sign(), threat.start(x)):
        found = threat.project(z, x)
        assert threat.contains(found, x).all()
        assert (threat.distance(found, x) >= 0.8 * threat.distance(z, x).clamp(max=threat.eps)).all()
    assert not threat.contains(x + 1.1 * threat.eps, x).any()


def test_a_length_of_a_million_cells_is_exact() -> None:
    x = torch.zeros(1, 20, 2, 160, 160)
    z = torch.full_like(x, 0.0123)
    assert FrameL2(1e3, most=1.0).distance(z, x).item() == pytest.approx(0.0123 * 1024_000**0.5, rel=1e-6)


# Worked by hand.

FIVE = torch.tensor([1.0, 0, 0, 1, 0]).view(1, 5, 1, 1, 1)  # events in frames 0 and 3 of one pixel


def in_time(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1, 1)


def test_flips_keep_the_largest_changes() -> None:
    soft = in_time(0.1, 0.7, 0.6, 0.9, 0.8)  # changes of -0.9, 0.7, 0.6, -0.1, 0.8; the fourth rounds to none
    for budget, expected in (
        (0, [1, 0, 0, 1, 0]),
        (1, [0, 0, 0, 1, 0]),
        (2, [0, 0, 0, 1, 1]),
        (3, [0, 1, 0, 1, 1]),
        (9, [0, 1, 1, 1, 1]),
    ):
        assert EventFlips(budget).project(soft, FIVE).flatten().tolist() == expected
    assert EventFlips(2, only="insert").project(soft, FIVE).flatten().tolist() == [1, 1, 0, 1, 1]
    assert EventFlips(2, only="delete").project(soft, FIVE).flatten().tolist() == [0, 0, 0, 1, 0]


def test_edits_keep_the_largest_changes_the_last_in_part() -> None:
    x = in_time(2, 0, 1, 5)
    wanted = in_time(2, 3.2, 0, 1.4)  # +3, -1 and -4: one pixel, so 3 moves and 2 removals, 5 edits
    assert EventEdits(5).contains(wanted.round(), x).all()
    assert not EventEdits(4).contains(wanted.round(), x).any()
    assert [int(n) for n in EventEdits().told_apart(wanted.round(), x)] == [0, 2, 3]
    assert EventEdits(5).project(wanted, x).flatten().tolist() == [2, 3, 0, 1]
    assert EventEdits(4).project(wanted, x).flatten().tolist() == [2, 3, 1, 1]  # moves first, then what is left of -4
    assert EventEdits(2).project(wanted, x).flatten().tolist() == [2, 2, 1, 3]
    assert EventEdits(4, move=0).project(wanted, x).flatten().tolist() == [2, 0, 1, 1]  # -4 was the largest
    assert EventEdits(6, remove=1).project(wanted, x).flatten().tolist() == [2, 3, 1, 1]
    assert EventEdits(6, add=0, remove=0).project(wanted, x).flatten().tolist() == [2, 3, 1, 2]
    assert EventEdits(6, remove=0, move=2).project(wanted, x).flatten().tolist() == [2, 3, 1, 3]
    assert EventEdits(6, move=2).project(wanted, x).flatten().tolist() == [2, 3, 0, 1]  # 2, 1 and 3: as wanted
    assert EventEdits(4, move=2).project(wanted, x).flatten().tolist() == [2, 2, 1, 1]
    assert EventEdits(6, add=0, move=0).project(wanted, x).flatten().tolist() == [2, 0, 0, 1]


def test_edits_are_told_apart_into_as_many_moves_as_there_can_be() -> None:
    x = torch.zeros(1, 3, 2, 1, 2)
    x[0, 0, 0, 0, 0] = 3
    x[0, 1, 1, 0, 1] = 1
    z = torch.zeros_like(x)
    z[0, 1, 0, 0, 0] = 2  # of three events two move, and one goes
    z[0, 2, 0, 0, 1] = 1  # an event of the other polarity cannot have moved here
    apart = lambda threat: [int(n) for n in threat.told_apart(z, x)]  # noqa: E731
    assert apart(EventEdits()) == [1, 2, 2]
    assert apart(EventEdits(move=1)) == [2, 3, 1]
    assert apart(EventEdits(move=0)) == [3, 4, 0]
    assert EventEdits().distance(z, x).item() == 5
    assert EventEdits(move=0).distance(z, x).item() == 7
    assert EventEdits(add=1, remove=2).distance(z, x).item() == 5
    assert EventEdits(add=0).distance(z, x).item() == math.inf
    assert EventEdits(move=1, remove=2).distance(z, x).item() == math.inf


def test_retiming_by_hand() -> None:
    late = in_time(0, 1, 0, 0, 1)  # both one frame later
    crossed = in_time(0, 0, 0, 1, 1)  # 0 -> 3 and 3 -> 4; or only 0 -> 4
    sizes = lambda z: [Retiming(9, by=by).distance(z, FIVE).item() for by in ("jitter", "delay", "moved")]  # noqa: E731
    assert sizes(late) == [1, 2, 2]
    assert sizes(crossed) == [3, 4, 1]
    assert sizes(FIVE) == [0, 0, 0]
    assert sizes(in_time(1, 0, 0, 0, 0)) == [math.inf] * 3
    assert sizes(in_time(1, 0, 0, 0.5, 0.5)) == [math.inf] * 3
    assert sizes(in_time(2, 0, 0, 0, 0)) == [math.inf] * 3


def test_retiming_gives_back_pixels_that_break_a_rule_and_then_the_largest_changes() -> None:
    x = torch.zeros(1, 4, 1, 1, 4)
    x[0, 0] = 1
    z = torch.zeros_like(x)
    z[0, 1, 0, 0, 0] = z[0, 2, 0, 0, 1] = z[0, 3, 0, 0, 2] = 1  # by 1, 2 and 3 frames; the fourth has lost its event
    moved = lambda threat: threat.project(z, x)[0, :, 0, 0].argmax(0).tolist()  # noqa: E731
    assert moved(Retiming(2)) == [1, 2, 0, 0]
    assert moved(Retiming(9, by="delay")) == [1, 2, 3, 0]
    assert moved(Retiming(5, by="delay")) == [1, 2, 0, 0]
    assert moved(Retiming(2, by="delay")) == [1, 0, 0, 0]
    assert sorted(moved(Retiming(2, by="moved")))[:2] == [0, 0]
    assert (Retiming(2, by="moved").project(z, x).sum((1, 2, 3)) == 1).all()


def test_frames_stay_between_nothing_and_the_recordings_own_most() -> None:
    x = torch.stack([in_time(0, 2, 5), in_time(0, 1, 1), in_time(0, 0, 0)])[:, 0]
    assert FrameLinf(9).project(x + 100, x).flatten(1).tolist() == [[5] * 3, [1] * 3, [0] * 3]
    assert FrameLinf(1).project(x + 100, x).flatten(1).tolist() == [[1, 3, 5], [1, 1, 1], [0, 0, 0]]
    assert FrameLinf(1, most=6).project(x + 100, x).flatten(1).tolist() == [[1, 3, 6], [1, 2, 2], [1, 1, 1]]
    assert FrameLinf(3).project(x - 100, x).flatten(1).tolist() == [[0, 0, 2], [0, 0, 0], [0, 0, 0]]
    found = FrameL2(5).project(x[:1] + in_time(3, 4, 0), x[:1]).flatten()
    assert found.tolist() == pytest.approx([3.0, 5.0, 5.0])  # the second can grow by 3 alone
    assert not FrameLinf(9).contains(x[:1] + in_time(5.1, 0, 0), x[:1]).any()
    assert not FrameLinf(9).contains(x[:1] - in_time(0.1, 0, 0), x[:1]).any()


# Starts.


@given(shape=st.sampled_from(SHAPES), budget=budgets, only=st.sampled_from([None, "insert", "delete"]), seed=seeds)
@quick
def test_a_start_of_flips_spends_all_that_can_be_spent(
    shape: tuple[int, ...], budget: int, only: str | None, seed: int
) -> None:
    torch.manual_seed(seed)
    threat = EventFlips(budget, only=only)
    x = recordings(threat, shape, 20)
    room = {None: torch.ones_like(x), "insert": 1 - x, "delete": x}[only].flatten(1).sum(1)
    assert torch.equal(threat.distance(threat.start(x), x), room.clamp(max=budget))


@given(shape=st.sampled_from(SHAPES), threat=KINDS["bounded edits"], seed=seeds)
@quick
def test_a_start_of_edits_has_moves_where_they_are_allowed(
    shape: tuple[int, ...], threat: EventEdits, seed: int
) -> None:
    torch.manual_seed(seed)
    x = (torch.rand(20, *shape) < 0.5).float() * torch.randint(1, 4, (20, *shape))
    added, removed, moved = threat.told_apart(threat.start(x), x)
    full = torch.ones(20, 6, 1, 5, 5)
    more, less, elsewhere = threat.told_apart(threat.start(full), full)
    alone = threat.add == threat.remove == 0
    if threat.move == 0:
        assert not moved.any()
    elif threat.eps >= 2 or (alone and threat.eps):
        assert elsewhere.any()
    if alone:
        assert not (added.any())
        assert not (removed.any())
        assert not (more.any())
        assert not less.any()
    if not alone and threat.eps:
        assert (more + less).any()


def test_a_start_of_edits_spends_half_on_moves() -> None:
    torch.manual_seed(0)
    x = torch.ones(200, 10, 1, 8, 8)
    for threat, changes, moves in (
        (EventEdits(20), 10, 10),
        (EventEdits(20, move=3), 17, 3),
        (EventEdits(20, move=0), 20, 0),
        (EventEdits(20, add=0, remove=0), 0, 20),
        (EventEdits(20, add=0, remove=0, move=6), 0, 6),
        (EventEdits(20, add=2), None, 10),
    ):
        added, removed, moved = threat.told_apart(threat.start(x), x)
        spent = added + removed + moved
        assert moved.mean() >= 0.9 * moves  # some draws undo each other, and some make moves of the others
        assert moves or not moved.any()
        assert (spent <= 20).all()
        assert changes is None or spent.mean() > 0.85 * (changes + moves)
        if threat.add != 0 and changes:
            assert 0.4 < (added.sum() / (added + removed).sum()) < 0.6


@pytest.mark.parametrize("threat", [Retiming(2), Retiming(12, by="delay"), Retiming(5, by="moved")], ids=str)
def test_a_start_of_retiming_moves_events_that_have_room(threat: Retiming) -> None:
    torch.manual_seed(0)
    x = (torch.rand(50, 6, 2, 4, 4) < 0.3).float()
    found = threat.start(x)
    assert torch.equal(found.sum(1), x.sum(1))
    assert (threat.distance(found, x) > 0.3 * threat.eps).all()
    full = torch.ones(2, 6, 2, 4, 4)
    assert torch.equal(threat.start(full), full)  # none has room
    assert torch.equal(threat.start(full[:, :1] * 0), full[:, :1] * 0)


# Placement.


def placed_by_loop(frames: list[int], liking: list[list[float]], shifts: list[int], steps: int, follow: bool) -> list:
    """The shift that each event of one pixel takes, written from the description of `chosen`."""
    taken, left, choice = set(frames), list(range(len(frames))), [0] * len(frames)
    while left:
        ways = []
        for event in left:
            for shift, likes in zip(shifts, liking[event], strict=True):
                to = frames[event] + shift
                if 0 <= to < steps and (shift == 0 or to not in taken):
                    ways.append((-likes, event, shift))
        _, event, shift = min(ways)
        choice[event] = shift
        if follow:
            taken.discard(frames[event])
        taken.add(frames[event] + shift)
        left.remove(event)
    return choice


@given(
    shape=st.sampled_from([(1, 1, 1, 1), (2, 2, 1, 2), (4, 1, 2, 2), (6, 2, 1, 3), (9, 1, 1, 2)]),
    most=st.integers(0, 9),
    follow=st.booleans(),
    ties=st.booleans(),
    seed=seeds,
)
@quick
def test_events_are_placed_as_a_plain_loop_places_them(
    shape: tuple[int, ...], most: int, follow: bool, ties: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    x = recordings(Retiming(), shape, 8)
    events, most = placed(x), min(most, shape[0] - 1)
    shifts = torch.arange(-most, most + 1)
    liking = torch.randn(len(events.frame), len(shifts))
    liking = liking.round() if ties else liking
    found = shifts[chosen(events, liking, shifts, shape[0], follow=follow)]
    expected = torch.zeros_like(found)
    pixel = events.recording * 10_000 + events.cell
    for one in pixel.unique():
        rows = (pixel == one).nonzero().squeeze(1)
        frames, likes = events.frame[rows].tolist(), liking[rows].tolist()
        expected[rows] = torch.tensor(placed_by_loop(frames, likes, shifts.tolist(), shape[0], follow))
    assert torch.equal(found, expected)
    assert torch.equal(written(events, events.frame, x), x)


@pytest.mark.parametrize("by", ["jitter", "delay", "moved"])
@given(shape=st.sampled_from(SHAPES), budget=budgets, wild=st.booleans(), seed=seeds)
@quick
def test_moved_events_never_collide_and_keep_to_the_budget(
    by: str, shape: tuple[int, ...], budget: int, wild: bool, seed: int
) -> None:
    """10,000 trials of each bound, with likings that are no numbers or infinite among them."""
    torch.manual_seed(seed)
    threat = Retiming(budget, by=by)
    x = recordings(threat, shape)
    liking = torch.randn(int(x.sum()), len(threat.shifts(shape[0])))
    if wild:
        bad = torch.tensor([math.nan, math.inf, -math.inf])[torch.randint(0, 3, liking.shape)]
        liking = torch.where(torch.rand(liking.shape) < 0.5, bad, liking)
    found = threat.moved(x, liking)
    assert ((found == 0) | (found == 1)).all()
    assert torch.equal(found.sum(1), x.sum(1))
    assert threat.contains(found, x).all()


def test_the_best_liked_move_is_made_first() -> None:
    x = in_time(1, 1, 0, 0)
    liking = torch.tensor([[0, 0, 0, 1.0, 0, 0, 0], [0, 0, 0, 0, 2.0, 0, 0]])  # shifts -3 to 3
    assert Retiming(3).moved(x, liking).flatten().tolist() == [1, 0, 1, 0]
    liking[0, 4] = 3  # it would rather go where the other still is: blocked, though the other leaves later
    assert Retiming(3).moved(x, liking).flatten().tolist() == [0, 1, 1, 0]


def test_a_shared_budget_is_spent_on_the_largest_gains() -> None:
    x = torch.zeros(1, 4, 1, 1, 3)
    x[0, 0] = 1
    liking = torch.zeros(3, 7)  # shifts -3 to 3
    liking[0, 5], liking[1, 4], liking[2, 6] = 2.0, 1.0, 3.0  # by 2, 1 and 3 frames
    moved = lambda threat: threat.moved(x, liking)[0, :, 0, 0].argmax(0).tolist()  # noqa: E731
    assert moved(Retiming(6, by="delay")) == [2, 1, 3]
    assert moved(Retiming(5, by="delay")) == [2, 0, 3]
    assert moved(Retiming(4, by="delay")) == [0, 1, 3]  # past the second, which is too dear
    assert moved(Retiming(1, by="moved")) == [0, 0, 3]
    assert moved(Retiming(2, by="moved")) == [2, 0, 3]


@given(
    changes=st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3), st.integers(0, 4)), max_size=25),
    budget=st.integers(0, 12),
)
@quick
def test_what_is_affordable_is_what_a_loop_affords(changes: list[tuple[int, int, int]], budget: int) -> None:
    changes = sorted(changes, key=lambda change: change[0])  # as events come
    recording, gain, cost = (torch.tensor(column) for column in (np.array(changes, int).reshape(-1, 3).T))
    expected = [False] * len(changes)
    for one in set(recording.tolist()):
        left = budget
        for row in sorted((i for i, c in enumerate(changes) if c[0] == one), key=lambda i: (-changes[i][1], i)):
            if changes[row][2] <= left:
                left -= changes[row][2]
                expected[row] = True
    assert affordable(recording, gain.float(), cost, budget).tolist() == expected


# Steps.

CELL_THREATS = [
    EventFlips(3),
    EventFlips(3, only="insert"),
    EventFlips(3, only="delete"),
    EventEdits(3),
    EventEdits(3, add=0),
    EventEdits(3, remove=0, move=0),
    EventEdits(3, add=0, move=0),
    EventEdits(3, add=0, remove=0),
    EventEdits(3, most=1),
    EventEdits(3, move=0, most=2),
]


@pytest.mark.parametrize("threat", CELL_THREATS, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_a_cell_has_a_step_where_some_budget_allows_it(threat: EventFlips | EventEdits, seed: int) -> None:
    """Every cell is tried, up and down, from an allowed recording; where moves are told from what is added and removed
    only later, a step may need another one beside it."""
    torch.manual_seed(seed)
    x = recordings(EventFlips(), (3, 1, 2, 2), 1)
    z = threat.start(x)
    up, down = threat.steps(z, x)
    for mask, way in ((up, 1.0), (down, -1.0)):
        for cell in range(z.numel()):
            stepped = z.clone().view(-1)
            stepped[cell] += way
            allowed = threat.distance(stepped.view_as(z), x).isfinite().item()
            if not isinstance(threat, EventEdits) or threat.move == 0:
                assert mask.view(-1)[cell].item() == allowed
            else:
                assert mask.view(-1)[cell].item() or not allowed


# What is refused.


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EventFlips(2.5), "eps of EventFlips must be a whole number from 0 on, not 2.5"),
        (lambda: EventFlips("1/2"), "eps of EventFlips must be a whole number from 0 on, not '1/2'"),
        (lambda: EventEdits(-1), "eps of EventEdits must be a whole number from 0 on, not -1"),
        (lambda: EventEdits(math.nan), "eps of EventEdits must be a whole number from 0 on, not nan"),
        (lambda: Retiming(math.inf), "eps of Retiming must be a whole number from 0 on, not inf"),
        (lambda: Retiming("many"), "eps of Retiming must be a whole number from 0 on, not 'many'"),
        (lambda: EventFlips(only="both"), "only of EventFlips must be 'insert' or 'delete' or None, not 'both'"),
        (lambda: Retiming(by="shift"), "by of Retiming must be 'jitter' or 'delay' or 'moved', not 'shift'"),
        (lambda: EventEdits(add=-1), "add of EventEdits must be a whole number from 0 on or None, not -1"),
        (lambda: EventEdits(move=-2), "move of EventEdits must be a whole number from 0 on or None, not -2"),
        (lambda: EventEdits(most=0), "most of EventEdits must be a whole number from 1 on or None, not 0"),
        (lambda: FrameLinf(-1), "eps of FrameLinf must be a number from 0 on"),
        (lambda: FrameLinf(most=0), "most of FrameLinf must be a number above 0 or None, not 0"),
        (lambda: FrameL2(most=math.inf), "most of FrameL2 must be a number above 0 or None, not inf"),
        (lambda: FrameL2(most=math.nan), "most of FrameL2 must be a number above 0 or None, not nan"),
    ],
)
def test_impossible_threats_are_refused(make: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


@pytest.mark.parametrize("kind", [EventFlips, EventEdits, Retiming])
def test_events_are_counted_in_whole_numbers_however_they_are_written(kind: type[Threat]) -> None:
    for eps in ("20", 20.0):
        assert kind(eps=eps) == kind(eps=20)
        assert type(kind(eps=eps).eps) is int
    assert kind(eps=20).scaled(0.5) == kind(eps=10)
    with pytest.raises(UserError, match=f"eps of {kind.__name__} must be a whole number from 0 on, not 5.5"):
        kind(eps=10).scaled(0.55)


@pytest.mark.parametrize("only", [None, "insert", "delete"])
def test_flips_are_edits_of_binary_frames_without_moves(only: str | None) -> None:
    torch.manual_seed(0)
    caps = {"insert": {"remove": 0}, "delete": {"add": 0}, None: {}}[only]
    for eps in (0, 3, 1000):
        flips, edits = EventFlips(eps, only=only), EventEdits(eps, **caps, move=0, most=1)
        x = recordings(flips, (4, 2, 3, 3))
        for perturbed in (flips.start(x), torch.randn_like(x), 1 - x):
            assert torch.equal(flips.project(perturbed, x), edits.project(perturbed, x))
            assert torch.equal(flips.distance(perturbed, x), edits.distance(perturbed, x))
            assert flips.contains(flips.project(perturbed, x), x).all()


@every_threat
def test_what_are_no_frames_is_refused_by_number(threat: Threat) -> None:
    x = torch.ones(4, 2, 1, 2, 2)
    for frames, said in (
        (x[:, 0], r"event frames are a float tensor \[B, T, P, H, W\], not torch.float32 \[4, 1, 2, 2\]"),
        (x.long(), "not torch.int64"),
        (x.numpy(), "not ndarray"),
        (x[:0], "no recordings: the batch is empty"),
    ):
        with pytest.raises(UserError, match=said):
            threat.check(frames)
    for value in (-1.0, math.nan, math.inf):
        wrong = x.clone()
        wrong[2:, 0, 0, 0, 0] = value
        with pytest.raises(UserError, match="recording 2 has frames from"):
            threat.check(wrong)


def test_frames_of_another_kind_than_the_threats_are_refused() -> None:
    counts, soft = torch.full((1, 2, 1, 2, 2), 3.0), torch.full((1, 2, 1, 2, 2), 0.5)
    for threat in (EventFlips(), Retiming()):
        for frames in (counts, soft):
            with pytest.raises(UserError, match=r"is about binary frames.*framing.values: binary"):
                threat.check(frames)
    EventEdits().check(counts)
    with pytest.raises(UserError, match="frames that count whole events, and these hold fractions"):
        EventEdits().check(soft)
    EventEdits(most=3).check(counts)
    with pytest.raises(UserError, match=r"3 events in a cell, more than the 2 of 20 edits \(most 2\)"):
        EventEdits(most=2).check(counts)
    FrameLinf(most=3.0).check(counts)
    with pytest.raises(UserError, match="3 events in a cell, and counts go to 2 here"):
        FrameLinf(most=2.0).check(counts)


def test_frames_are_no_images_and_images_no_frames() -> None:
    binary = torch.ones(2, 3, 1, 4, 4)
    with pytest.raises(UserError, match=r"event frames \[B, T, P, H, W\] are no images: .*FrameLinf"):
        Linf().check(binary)
    Linf().check(binary[:, 0])
    with pytest.raises(UserError, match=r"event frames are a float tensor \[B, T, P, H, W\]"):
        FrameLinf().check(binary[:, 0])


@pytest.mark.parametrize("threat", [EventFlips(), EventEdits(), Retiming()], ids=str)
def test_whole_events_have_no_steepest_step(threat: Threat) -> None:
    with pytest.raises(UserError, match="no step along a gradient"):
        threat.ascent(FIVE, FIVE)


def test_names_and_sizes() -> None:
    assert [str(threat) for threat in EXAMPLES] == [
        "frame Linf 1",
        "frame L2 5",
        "20 flips",
        "20 edits",
        "20 edits (most 1)",
        "retiming, jitter of 1 frames",
        "retiming, delay of 1 frames in all",
        "retiming, 1 events moved",
    ]
    assert str(EventFlips(3, only="insert")) == "3 insertions"
    assert str(EventFlips(3, only="delete")) == "3 deletions"
    assert str(EventEdits(3, add=0, move=2)) == "3 edits (add 0, move 2)"
    assert str(FrameLinf("1/2", most=4)) == "frame Linf 0.5, counts to 4"
    assert [(t.kind, t.norm) for t in EXAMPLES] == [
        ("frames", "Linf"),
        ("frames", "L2"),
        ("events", "L0"),
        ("events", "L0"),
        ("events", "L0"),
        ("retiming", "jitter"),
        ("retiming", "delay"),
        ("retiming", "moved"),
    ]
    assert EventFlips("20") == EventFlips(20.0) == EventFlips()
    assert isinstance(EventFlips("20").eps, int)


@every_threat
def test_round_trip_and_scaling(threat: Threat) -> None:
    changed = dataclasses.replace(threat, eps=7)
    assert from_config(json.loads(json.dumps(to_config(changed))), Threat) == changed
    assert threat.scaled(0).eps == 0
    assert threat.scaled(2) == dataclasses.replace(threat, eps=2 * threat.eps)
    torch.manual_seed(0)
    unbounded = dataclasses.replace(threat, eps=type(threat).largest)
    x = recordings(threat, (3, 1, 2, 2), 20)
    z = disturbed(threat, x)
    assert unbounded.contains(unbounded.project(z, x), x).all()
    assert unbounded.contains(unbounded.start(x), x).all()

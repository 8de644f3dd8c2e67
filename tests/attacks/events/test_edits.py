"""Are changes told apart into the moves and single events that are worth most, and do attacks find them?"""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeproof.attacks import SCG, SDA, Attack, EventEdits, EventFlips, Gumbel, SparseAttack, SpikeFool, UniformNoise
from spikeproof.attacks.events.edits import moves, singles, spent_before
from spikeproof.attacks.events.spike_fool import beyond
from tests.attacks.outcomes import broken

quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**30)


def in_time(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1, 1)


# Telling apart.


def test_the_best_events_more_and_less_of_a_pixel_make_moves() -> None:
    change, worth = in_time(2, -1, 1, 0, -4), in_time(1.0, 5.0, 3.0, 9.0, 2.0)
    found = moves(change, worth)
    assert found.cells.tolist() == [[2, 1], [0, 4]]  # the best with the best, then twice the next with the next
    assert found.units.tolist() == [1, 2]
    assert found.worth.tolist() == [8, 3]
    assert found.change(change).flatten().tolist() == [2, -1, 1, 0, -2]


def test_events_of_other_pixels_polarities_and_recordings_make_no_move() -> None:
    change = torch.zeros(2, 3, 2, 2, 2)
    change[0, 0, 0, 0, 0] = change[0, 1, 0, 1, 1] = change[1, 1, 1, 1, 1] = 1
    change[0, 1, 1, 0, 0] = change[0, 2, 0, 0, 1] = change[1, 2, 0, 1, 1] = -1
    found = moves(change, change.abs())
    assert len(found.units) == 0
    assert not found.change(change).any()
    alone = singles(change, change.abs())
    assert len(alone.units) == 6
    assert torch.equal(alone.change(change), change)
    assert (alone.ways[:, 1] == 0).all()


@given(
    shape=st.sampled_from([(1, 1, 1, 1), (2, 1, 2, 2), (5, 2, 1, 2), (9, 1, 1, 3)]), most=st.integers(1, 4), seed=seeds
)
@quick
def test_moves_are_those_of_a_loop_over_events(shape: tuple[int, ...], most: int, seed: int) -> None:
    torch.manual_seed(seed)
    change = torch.randint(-most, most + 1, (2, *shape)).float()
    worth = torch.randn(change.shape)
    expected = torch.zeros_like(change)
    value = torch.zeros(2)
    for b, p, h, w in product(*(range(n) for n in (2, *shape[1:]))):
        more, less = (
            sorted(
                (-worth[b, t, p, h, w].item(), t)
                for t in range(shape[0])
                for _ in range(int(way * change[b, t, p, h, w]))
            )
            for way in (1, -1)
        )
        for (first, to), (second, origin) in zip(more, less, strict=False):
            expected[b, to, p, h, w] += 1
            expected[b, origin, p, h, w] -= 1
            value[b] -= first + second
    found = moves(change, worth)
    assert torch.equal(found.change(change), expected)
    torch.testing.assert_close(torch.zeros(2).index_add(0, found.recording, found.units * found.worth), value)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2), st.integers(0, 5)), max_size=20),
    budget=st.one_of(st.none(), st.integers(0, 12)),
)
@quick
def test_the_most_valuable_edits_come_first(rows: list[tuple[int, int, int]], budget: int | None) -> None:
    columns = torch.tensor(rows, dtype=torch.long).view(-1, 3).T
    recording, worth, units = columns
    before = [
        sum(u for j, (r, w, u) in enumerate(rows) if r == row[0] and (-w, j) < (-row[1], i))
        for i, row in enumerate(rows)
    ]
    assert spent_before(recording, worth, units).tolist() == before
    cells = torch.arange(len(rows)).unsqueeze(1).expand(-1, 2)
    edits = singles(torch.ones(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1))._replace(
        recording=recording, cells=cells, ways=torch.zeros_like(cells), units=units, worth=worth
    )
    kept = edits.within(budget)
    left = {int(c): int(u) for c, u in zip(kept.cells[:, 0], kept.units, strict=True)}
    for i, (spent, (_, _, asked)) in enumerate(zip(before, rows, strict=True)):
        assert left.get(i, 0) == (asked if budget is None else min(max(budget - spent, 0), asked))


# The best edits, against all that are allowed.

BOUNDS = [{}, {"add": 0, "remove": 0}, {"add": 0}, {"remove": 0}, {"move": 0}, {"add": 0, "move": 0}]


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("budget", [0, 1, 2, 3])
def test_no_allowed_part_of_a_change_is_worth_more(bounds: dict[str, int], budget: int) -> None:
    torch.manual_seed(budget)
    threat = EventEdits(budget, **bounds)
    for _ in range(10):
        x = torch.randint(0, 3, (1, 3, 1, 1, 2)).float()
        change = torch.randint(-2, 3, x.shape).float().maximum(-x)
        worth = torch.rand(x.shape)
        ranges = [range(min(0, int(c)), max(0, int(c)) + 1) for c in change.flatten()]
        parts = torch.tensor(list(product(*ranges)), dtype=torch.float32).view(-1, *x.shape[1:])
        parts = parts[threat.contains(x + parts, x.expand_as(x + parts))]
        best = (parts.abs() * worth).flatten(1).sum(1).amax()
        found = threat.of_most_worth(x + change, worth, x)
        assert threat.contains(found, x).all()
        torch.testing.assert_close(((found - x).abs() * worth).sum(), best)


def test_harm_is_not_done_for_a_move_that_could_be_single() -> None:
    x, z = in_time(0, 1, 1, 1), in_time(1, 0, 1, 0)
    worth = in_time(5.0, -1.0, 0.0, 0.5)
    kept = lambda budget, **bounds: EventEdits(budget, **bounds).of_most_worth(z, worth, x).flatten().tolist()  # noqa: E731
    assert kept(1) == [1, 1, 1, 0]
    assert kept(2) == z.flatten().tolist()  # a move and a removal are allowed, and stay
    z = in_time(1, 0, 1, 1)
    assert EventEdits(1).of_most_worth(z, worth, x).flatten().tolist() == [1, 0, 1, 1]
    two, much = torch.cat([x, x], 4), torch.cat([worth, 4 * worth.sign()], 4)
    both = torch.cat([z, z], 4)
    assert EventEdits(1).of_most_worth(both, much, two)[..., 0].flatten().tolist() == [1, 1, 1, 1]
    assert EventEdits(1, add=0).of_most_worth(both, much, two)[..., 0].flatten().tolist() == [1, 0, 1, 1]


def test_the_other_end_of_a_move() -> None:
    """Three pixels: one where the best event to leave gains, one where it costs less than what waits gains, and one
    where it costs more."""
    uphill = torch.tensor([[3.0, 3.0, 3.0], [-1.0, 2.0, 4.0], [-2.0, 2.5, 5.0]]).view(1, 3, 1, 1, 3)
    x = torch.zeros(1, 3, 1, 1, 3)
    x[0, 1:] = 1
    way = torch.zeros_like(x)
    way[0, 0] = 1
    partnered = lambda threat: threat.partnered(way, uphill, x, x)[0, :, 0, 0].T.tolist()  # noqa: E731
    assert partnered(EventEdits(9, add=0, remove=0)) == [[1, 0, -1], [1, -1, 0], [1, 0, 0]]
    assert partnered(EventEdits(9)) == [[1, 0, -1], [1, 0, 0], [1, 0, 0]]
    assert partnered(EventEdits(9, remove=0)) == [[1, 0, -1], [1, 0, 0], [1, 0, 0]]
    assert partnered(EventEdits(9, move=0)) == [[1, 0, 0]] * 3
    assert partnered(EventFlips(9)) == [[1, 0, 0]] * 3
    falls = EventEdits(9, add=0, remove=0, most=1)  # frames 1 and 2 have no room
    uphill = torch.tensor([[-1.0, -4.0, 2.0], [-3.0, -3.0, -3.0], [2.0, 2.0, 2.0]]).view_as(x)
    assert falls.partnered(-way.roll(1, 1), uphill, x, x)[0, :, 0, 0].T.tolist() == [[1, -1, 0], [0, -1, 0], [1, -1, 0]]


def test_gains_count_the_other_end_where_it_gains_or_has_to_be() -> None:
    uphill, x = in_time(3, 1, -2), in_time(0, 1, 1)
    inf = float("inf")
    for threat, more, less in (
        (EventEdits(9, most=1), [5, -inf, -inf], [-inf, 2, 5]),
        (EventEdits(9, most=1, move=0), [3, -inf, -inf], [-inf, -1, 2]),
        (EventEdits(9, add=0, remove=0), [5, 3, 0], [-inf, 2, 5]),
        (EventFlips(9), [3, -inf, -inf], [-inf, -1, 2]),
    ):
        assert [gain.flatten().tolist() for gain in threat.gains(uphill, x)] == [more, less]
    nowhere = EventEdits(9, add=0, remove=0).gains(uphill, 0 * x)  # no event that could move
    assert nowhere.isneginf().all()


# Attacks on a linear network: the best edits of each pixel are known, and each one gains less than the one before.


class Linear(nn.Module):
    """Two classes, the second by sum of weight * frames - bias."""

    def __init__(self, weight: Tensor, bias: float) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        value = ((x * self.weight).flatten(1).sum(1) - self.bias) / 10
        return torch.stack([torch.zeros_like(value), value], 1)


def best_gains(weight: Tensor, x: Tensor, threat: EventEdits) -> Tensor:
    """What each of the best edits of binary frames gains ``[B, budget]``, worked out by pixel."""
    more = weight.expand_as(x).masked_fill(x == 1, -torch.inf).sort(1, descending=True).values
    less = (-weight).expand_as(x).masked_fill(x == 0, -torch.inf).sort(1, descending=True).values
    more = more if threat.remove == 0 else more.clamp(min=0)
    less = less if threat.add == 0 else less.clamp(min=0)
    return (more + less).clamp(min=0).flatten(1).topk(threat.budget, dim=1).values


def of_linear_weights() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, 2, 4, 4), (torch.rand(6, 6, 2, 4, 4) < 0.3).float(), torch.zeros(6, dtype=torch.long)


MOVES_MATTER = [
    EventEdits(12, add=0, remove=0, most=1),
    EventEdits(12, remove=0, most=1),
    EventEdits(12, add=0, most=1),
    EventEdits(12, most=1),
]
SHARES = [(SCG(), 0.99), (SDA(), 0.95), (Gumbel(), 0.85), (SparseAttack(), 0.7)]


@pytest.mark.parametrize("threat", MOVES_MATTER, ids=str)
@pytest.mark.parametrize(("attack", "share"), SHARES, ids=[type(attack).__name__ for attack, _ in SHARES])
def test_moves_are_found_where_they_are_worth_most(attack: Attack, share: float, threat: EventEdits) -> None:
    weight, x, y = of_linear_weights()
    gain = lambda one: ((one(Linear(weight, 60.0), x, y, threat) - x) * weight).flatten(1).sum(1).mean()  # noqa: E731
    best = best_gains(weight, x, threat).sum(1).mean()
    assert share * best < gain(attack) <= 1.0001 * best
    assert gain(UniformNoise(draws=20)) < 0.4 * best


@pytest.mark.parametrize("threat", [EventEdits(12, add=0, remove=0), EventEdits(12)], ids=str)
def test_moves_are_found_where_cells_hold_any_number(threat: EventEdits) -> None:
    """All events of a pixel may go to its best frame."""
    weight, x, y = of_linear_weights()
    top = weight.amax(0, keepdim=True).expand(12, -1, -1, -1)
    less = torch.cat([-weight, torch.full_like(weight, -torch.inf)]).masked_fill(torch.cat([x, x], 1) == 0, -torch.inf)
    gain = less.sort(1, descending=True).values + top
    gain = gain if threat.add == 0 else gain.maximum(top)
    best = gain.clamp(min=0).flatten(1).topk(12, dim=1).values.sum(1).mean()
    found = SCG(steps=30)(Linear(weight, 60.0), x, y, threat)
    assert ((found - x) * weight).flatten(1).sum(1).mean() > 0.98 * best


@pytest.mark.parametrize("threat", MOVES_MATTER, ids=str)
def test_the_fewest_edits_that_break_a_linear_network(threat: EventEdits) -> None:
    weight, x, y = of_linear_weights()
    gain = best_gains(weight, x, threat)
    bias = float((x * weight).flatten(1).sum(1).amax()) + 9.0
    missing = bias - (x * weight).flatten(1).sum(1)
    fewest = (gain.cumsum(1) <= missing.unsqueeze(1)).sum(1) + 1
    assert fewest.unique().numel() > 2
    for attack in (SpikeFool(overreach=1.0, least=0.0), SDA(first=40)):
        found = attack(Linear(weight, bias), x, y, threat)
        assert torch.equal(broken(Linear(weight, bias), found, y), fewest <= 12)
        assert torch.equal(threat.distance(found, x)[fewest <= 12], fewest[fewest <= 12].float())


def test_moves_beyond_a_plane() -> None:
    x = torch.zeros(1, 2, 1, 1, 2)
    x[0, 0] = 1
    normal = torch.tensor([[0.1, -1.0], [2.0, 0.5]]).view_as(x)  # moves gain 1.9 and 1.5
    threat = EventEdits(9, add=0, remove=0, most=1)
    reached = lambda gap: beyond(x, x, normal, torch.tensor([gap]), threat)[0, 1, 0, 0].tolist()  # noqa: E731
    assert reached(1.0) == [1, 0]
    assert reached(1.95) == [1, 1]
    assert reached(99.0) == [1, 1]

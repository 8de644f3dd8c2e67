"""Are frames, corners and dashes drawn where they say, and do they find what breaks a network that is weak there?"""

import re

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import (
    Attack,
    CornerPattern,
    DashPattern,
    EventEdits,
    EventFlips,
    FramePattern,
    Linf,
    Retiming,
    UniformNoise,
)
from spikeproof.attacks.events.patterns import drawn_on, ends, insertable, rings
from spikeproof.choices import UserError
from spikeproof.snn import HotPixels, SpikingNetwork
from tests.attacks.outcomes import asked

Bars = tuple[Tensor, Tensor]

EVERY: list[Attack] = [FramePattern(), CornerPattern(), DashPattern(positions=30), DashPattern(most=3, positions=30)]
THREATS = [
    EventFlips(30),
    EventFlips(7, only="insert"),
    EventEdits(25),
    EventEdits(30, add=9, remove=0),
    EventEdits(9, move=0),
]
every_pattern = pytest.mark.parametrize("attack", EVERY, ids=str)
every_threat = pytest.mark.parametrize("threat", THREATS, ids=str)


class Weighted(nn.Module):
    """Two classes; the second is chosen where the events of some cells outweigh a bias of 0.5."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).flatten(1).sum(1) - 0.5
        return torch.stack([-score, score], 1)


def weak_at(where: tuple[object, ...], shape: tuple[int, ...] = (4, 2, 6, 7), share: float = 1.0) -> Weighted:
    """An event at `where` (t, p, row, column) counts `share`."""
    weight = torch.zeros(shape)
    weight[where] = share
    return Weighted(weight)


def drawings(attack: Attack, threat: EventFlips | EventEdits, shape: tuple[int, ...]) -> list[Tensor]:
    """All that is drawn on one empty recording, if nothing breaks the network or helps, as sets of cells."""
    x = torch.zeros(1, *shape)
    query = asked(nn.Identity(), x, torch.zeros(1, dtype=torch.long), threat)
    return [z[0] for _, z in attack.drawings(query, threat)]


def pixels(z: Tensor) -> set[tuple[int, int]]:
    return {(row, column) for row, column in z.sum((0, 1)).nonzero().tolist()}


@every_pattern
@every_threat
def test_events_are_inserted_within_the_budget(
    attack: Attack, threat: EventFlips | EventEdits, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = bars[0][:12], bars[1][:12]
    x = x if isinstance(threat, EventFlips) else 2 * x
    before = x.clone()
    outcome = attack.run(bar_network, x, y, threat)
    assert torch.equal(x, before)
    assert threat.contains(outcome.x, x).all()
    assert (outcome.x >= x).all()
    assert (outcome.x - x).max() <= (1 if isinstance(threat, EventFlips) else 25)
    assert not torch.equal(outcome.x, x)
    assert torch.equal(attack(bar_network, x, y, threat, seed=1), outcome.x)  # nothing is random


@every_pattern
def test_the_cost_is_forwards_alone_and_none_for_what_is_broken(
    attack: Attack, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = bars
    wrong = (y + 1) % 4
    calls = []
    hook = bar_network.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    outcome = attack.run(bar_network, x[:6], torch.cat([wrong[:2], y[2:6]]), EventFlips(10))
    hook.remove()
    assert (outcome.gradients == 0).all()
    assert outcome.forwards.sum() == sum(calls)
    assert (outcome.forwards[:2] == 1).all()  # broken as it is
    assert (outcome.forwards[2:] > 1).all()
    assert torch.equal(outcome.x[:2], x[:2])


def test_a_frame_is_the_border_and_then_the_rings_within_it() -> None:
    border = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 3), (2, 3), (2, 2), (2, 1), (2, 0), (1, 0)]
    assert rings(3, 4) == [border, [(1, 1), (1, 2)]]
    assert rings(1, 3) == [[(0, 0), (0, 1), (0, 2)]]
    assert rings(3, 1) == [[(0, 0), (1, 0), (2, 0)]]
    for height, width in ((5, 5), (4, 7), (2, 2), (1, 1)):
        found = [pixel for ring in rings(height, width) for pixel in ring]
        assert sorted(found) == [(row, column) for row in range(height) for column in range(width)]


def test_a_frame_grows_in_time_and_then_inwards() -> None:
    shape = (4, 2, 6, 7)
    found = drawings(FramePattern(), EventFlips(10_000), shape)
    assert [int(z.sum()) for z in found] == [22, 44, 88, 176, 336]
    border = set(rings(6, 7)[0])
    assert all(pixels(z) == border for z in found[:4])
    assert [z.sum((2, 3)).tolist() for z in found[:2]] == [
        [[22, 0], [0, 0], [0, 0], [0, 0]],
        [[22, 0], [22, 0], [0, 0], [0, 0]],
    ]
    assert found[3][:, :, 0].min() == 1  # all frames and both polarities
    small = drawings(FramePattern(), EventFlips(30), shape)
    assert [int(z.sum()) for z in small] == [22, 30]
    assert torch.equal(small[0], found[0])


def test_a_corner_grows_along_the_row_from_each_corner_in_turn() -> None:
    found = drawings(CornerPattern(), EventFlips(10_000), (3, 2, 4, 11))
    assert [int(z.sum()) for z in found] == [6 * n for n in (2, 5, 9, 11) for _ in range(4)]
    assert [pixels(z) for z in found[:4]] == [
        {(0, 0), (0, 1)},
        {(3, 0), (3, 1)},
        {(0, 10), (0, 9)},
        {(3, 10), (3, 9)},
    ]
    short = drawings(CornerPattern(), EventFlips(4), (3, 2, 4, 11))
    assert all(z.sum() == 4 for z in short)
    assert short[0][:, 0].sum() == 4  # the first polarity first, from the first frame on
    assert short[0][2].sum() == 0


def test_dashes_are_spread_over_the_sensor_from_the_border_inwards() -> None:
    assert ends(34, 34, 100)[:3] == [(0, 0, 1), (0, 33, -1), (0, 4, 1)]
    for height, width in ((34, 34), (17, 17), (128, 128), (1, 700), (5, 2), (1, 1)):
        for most in (1, 4, 36, 100, 100_000):
            found = ends(height, width, most)
            assert 0 < len(found) <= most
            assert len(found) > most / 5 or len(found) >= height * width
            assert all(0 <= end.row < height and 0 <= end.column < width for end in found)
            rows = [min(end.row, height - 1 - end.row) for end in found]
            assert rows == sorted(rows)
    found = drawings(DashPattern(), EventFlips(10_000), (3, 2, 4, 4))
    assert [pixels(z) for z in found] == [
        {(row, column), (row, column + way)}
        for row in (0, 3, 1, 2)
        for column, way in ((0, 1), (3, -1), (1, 1), (2, -1))
    ]
    assert all(z.sum() == 12 for z in found)  # two pixels in all frames and both polarities
    assert drawings(DashPattern(), EventFlips(6), (3, 2, 4, 4))[0][:, 0].sum() == 6  # one polarity after the other
    assert drawings(DashPattern(), EventFlips(6), (3, 2, 4, 4))[1][:, 1].sum() == 6  # from the right, the other first


def test_an_aware_dash_goes_on_before_a_pixel_is_hot() -> None:
    found = drawings(DashPattern(most=2), EventFlips(10_000), (5, 2, 1, 9))
    assert found[0].shape == (5, 2, 1, 9)
    times = [[int(t) for t in z.sum((1, 2))[:, c].nonzero()] for z in found[:1] for c in range(9)]
    assert times == [[0, 1], [0, 1], [2, 3], [2, 3], [4], [4], [], [], []]
    assert found[0][:, 1].sum() == 0
    from_right = [[int(t) for t in found[1].sum((1, 2))[:, c].nonzero()] for c in range(9)]
    assert from_right == times[::-1]
    assert found[1][:, 0].sum() == 0  # the right has the other polarity


def test_the_recordings_own_events_count_towards_a_hot_pixel() -> None:
    x = torch.zeros(1, 5, 2, 1, 9)
    x[0, 3:, 0, 0, 0] = 1  # two of three
    x[0, :, 1, 0, 1] = 1  # hot already
    attack = DashPattern(most=3)
    threat = EventFlips(100)
    query = asked(nn.Identity(), x, torch.zeros(1, dtype=torch.long), threat)
    z = next(attack.drawings(query, threat))[1]
    added = (z - x)[0, :, :, 0]
    assert added[:, :, 0].nonzero().tolist() == [[0, 0]]
    assert added[:, :, 1].sum() == 0
    assert HotPixels(most=3).keep(z)[(z - x) == 1].all()


@every_threat
def test_no_event_of_an_aware_dash_is_silenced(
    threat: EventFlips | EventEdits, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = bars
    found = DashPattern(most=3)(bar_network, x, y, threat)
    assert ((found - x).sum((1, 2)) > 0).any()
    assert HotPixels(most=3).keep(found)[found > x].all()


def test_a_pattern_breaks_a_network_that_is_weak_where_it_is_drawn() -> None:
    x, y = torch.zeros(3, 4, 2, 6, 7), torch.zeros(3, dtype=torch.long)
    slices = slice(None), slice(None)
    for attack, where, forwards in (
        (FramePattern(), (slice(2, 3), 0, 1, 6), 4),  # x itself, then one, two and four frames
        (CornerPattern(), (*slices, 5, 4), 7),  # of the second length, at the second corner
        (CornerPattern(), (*slices, 0, 5), 4),
        (DashPattern(), (*slices, 3, 3), None),
        (DashPattern(most=1), (*slices, 3, 3), None),
    ):
        model = weak_at(where)
        outcome = attack.run(model, x, y, EventFlips(70))
        assert (model(outcome.x).argmax(1) == 1).all(), attack
        assert forwards is None or (outcome.forwards == forwards).all(), attack
        assert not (model(attack(weak_at((*slices, 4, 4)), x, y, EventFlips(60))).argmax(1) == 1).all()


def test_dashes_are_added_where_they_help_most_until_it_is_broken() -> None:
    """One dash at (2, 3) counts 0.2 an event and needs 3 of them, which one polarity of one pixel has not."""
    x, y = torch.zeros(1, 2, 1, 6, 7), torch.zeros(1, dtype=torch.long)
    weight = torch.zeros(2, 1, 6, 7)
    weight[:, :, 2, 3] = 0.2
    weight[:, :, 4, 0] = 0.15
    weight[:, :, 0, 0] = -1.0
    found = DashPattern()(Weighted(weight), x, y, EventFlips(8))
    assert Weighted(weight)(found).argmax(1).item() == 1
    assert {(2, 3), (4, 0)} < pixels(found[0])
    assert found.sum() == 8
    alone = DashPattern()(Weighted(weight), x, y, EventFlips(4))
    assert (2, 3) in pixels(alone[0])
    assert alone.sum() == 4
    nowhere = DashPattern().run(Weighted(-weight.abs()), x, y, EventFlips(8))
    assert torch.equal(nowhere.x, x)  # no dash helps
    assert nowhere.forwards.item() == 1 + len(ends(6, 7, 100))  # and none is added to none


@every_pattern
def test_recordings_of_a_batch_are_drawn_on_by_themselves(attack: Attack) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(9, 4, 2, 6, 7, generator=generator) < 0.2).float()
    model = Weighted(torch.randint(-3, 4, x.shape[1:], generator=generator).float())  # exact in any order
    y = model(x).argmax(1)
    together = attack.run(model, x, y, EventFlips(60))
    assert len(set(together.forwards.tolist())) > 1
    for i in range(9):
        alone = attack.run(model, x[i : i + 1], y[i : i + 1], EventFlips(60))
        assert torch.equal(alone.x, together.x[i : i + 1])
        assert alone.forwards.item() == together.forwards[i]


def test_dashes_beat_noise_of_the_same_budget(bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = bars

    def broken(attack: Attack) -> int:
        with torch.no_grad():
            return int((bar_network(attack(bar_network, x, y, EventFlips(25))).argmax(1) != y).sum())

    noise = broken(UniformNoise(draws=20))
    assert broken(DashPattern()) > noise
    assert broken(DashPattern(most=4)) > noise


def test_events_are_drawn_in_the_order_of_the_cells_where_there_can_be_one() -> None:
    x = torch.zeros(2, 1, 1, 1, 6)
    x[0, ..., 1] = x[1, ..., 0] = 1
    cells = torch.tensor([1, 3, 0, 4])
    z = drawn_on(x, x, cells, torch.tensor([2, 3]), EventFlips(5))
    assert z[:, 0, 0, 0].tolist() == [[1, 1, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0]]
    counts = drawn_on(x, x, cells, torch.tensor([2, 0]), EventEdits(5))
    assert counts[:, 0, 0, 0].tolist() == [[0, 2, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0]]


def test_how_many_events_may_be_inserted() -> None:
    x = torch.tensor([[1.0, 0, 0], [1, 1, 1]]).view(2, 1, 1, 1, 3)
    for threat, room in (
        (EventFlips(2), [2, 0]),
        (EventFlips(20), [2, 0]),
        (EventFlips(20, only="delete"), [0, 0]),
        (EventEdits(2), [2, 2]),
        (EventEdits(20), [3, 3]),
        (EventEdits(20, add=1, remove=5), [1, 1]),
        (EventEdits(0), [0, 0]),
    ):
        assert insertable(x, threat).tolist() == room


@every_pattern
def test_threats_without_insertion_are_refused(attack: Attack) -> None:
    model, x, y = weak_at(()), torch.zeros(2, 4, 2, 6, 7), torch.zeros(2, dtype=torch.long)
    for threat in (EventFlips(5, only="delete"), EventEdits(5, add=0), EventEdits(5, add=0, remove=0)):
        with pytest.raises(UserError, match=f"inserts events, and {re.escape(str(threat))} allows no insertion"):
            attack(model, x, y, threat)
    for threat in (Retiming(), Linf(0.1)):
        with pytest.raises(UserError, match="searches under threats on events"):
            attack.check(threat)
    assert torch.equal(attack(model, x, y, EventFlips(0, only="delete")), x)


def test_impossible_settings_are_refused() -> None:
    for make, said in (
        (lambda: DashPattern(most=0), "most"),
        (lambda: DashPattern(positions=0), "positions"),
        (lambda: FramePattern(eot=0), "eot"),
    ):
        with pytest.raises(UserError, match=f"{said} of .* must be a whole number from 1 on"):
            make()

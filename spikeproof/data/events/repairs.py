"""What was wrong in a recording, and how much of it may be mended? Repairs are counted, and bounded."""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from spikeproof.choices import UserError

FEW, MOST = 32, 0.1  # events, and a share of all of them: repair leaves out no more than the larger of the two
GLITCH = 10_000  # us: a time so far beyond all that are in order is none, but a clock that overflowed or a flipped bit
ENOUGH = 4  # events in order that say what the others are
LONGEST = 24 * 3600 * 10**6  # us that a recording may take: longer ones are in other units

CODINGS = {
    (-1, 1): "(p + 1) // 2 makes 0 and 1 of polarities -1 and 1",
    (1, 255): "(p == 1) makes 0 and 1 of polarities -1 and 1, which are 255 and 1 here",
    (0, 255): "p // 255 makes 0 and 1 of polarities 0 and 255",
    (1, 2): "p - 1 makes 0 and 1 of polarities 1 and 2",
}


@dataclass(frozen=True)
class Repairs:
    """What repair did to a recording of `events` events: left some out, and put others into the order of time."""

    events: int
    left_out: int
    moved: int

    def __bool__(self) -> bool:
        return bool(self.left_out or self.moved)

    def __str__(self) -> str:
        return f"of {self.events:,} events {self.left_out:,} were left out and {self.moved:,} put in the order of time"


def coding_of(p: np.ndarray, polarities: int) -> str | None:
    """How polarities [N] of another coding are made ours, where they are of one that is known."""
    return CODINGS.get(tuple(np.unique(p).tolist()[:3])) if polarities == 2 else None


def refuse_what_is_beyond_repair(left_out: int, events: int, source: object) -> None:
    """Raise `UserError` where more is wrong than an accident would leave."""
    if left_out > max(FEW, MOST * events):
        raise UserError(
            f"{source}: {left_out:,} of {events:,} events are wrong, more than repair leaves out ({MOST:.0%}): the "
            "sensor, the units or the format are others"
        )


def refuse_other_units(t: np.ndarray, source: object) -> None:
    """Raise `UserError` for times [N], in order, that can be no us."""
    if len(t) and (span := int(t[-1]) - int(t[0])) > LONGEST:
        raise UserError(
            f"{source}: it takes {span:.3g} us, {span / 3.6e9:.0f} hours: times are us, and these look like ns, or "
            "a flipped bit has made one late"
        )


def order_of(t: np.ndarray) -> tuple[np.ndarray, int]:
    """Indices [M] that put times [N] in order, and how many of these were out of it; times that are none left out.

    In order are as many as can be without moving any. Of the others, those that lie further beyond the ends of these
    than they take, and than a `GLITCH`, are no times.
    """
    if (t[1:] >= t[:-1]).all():
        return np.arange(len(t)), 0
    kept = _longest_in_order(t.tolist())
    others = np.ones(len(t), bool)
    others[kept] = False
    first, last = int(t[kept[0]]), int(t[kept[-1]])
    far = max(GLITCH, last - first)
    off = others & ((t > last + far) | (t < first - far))
    if len(kept) < ENOUGH or off.sum() > max(1, len(t) // 100):
        off[:] = False  # so many are no accident of single bits
    order = np.argsort(t, kind="stable")
    return order[~off[order]], int((others & ~off).sum())


def _longest_in_order(t: list[int]) -> np.ndarray:
    """The indices of a longest subsequence that does not fall: each time is put onto the first with a later top."""
    tops: list[int] = []
    piles: list[int] = []
    before = []
    for index, time in enumerate(t):
        place = bisect_right(tops, time)
        before.append(piles[place - 1] if place else -1)
        tops[place : place + 1] = [time]
        piles[place : place + 1] = [index]
    found, index = [], piles[-1]
    while index >= 0:
        found.append(index)
        index = before[index]
    return np.array(found[::-1])

"""SDA: what each likely change does is tried out by a pass of its own; the best are kept, needless ones taken back."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.events.cell_threats import CellThreat
from spikeproof.attacks.events.edits import Edits, spent_before
from spikeproof.attacks.events.scg import on_cells
from spikeproof.attacks.losses import AttackLoss, Margin
from spikeproof.attacks.query import Answer, Query, per_image
from spikeproof.choices import Count
from spikeproof.randomness import Streams

TOGETHER = 64  # recordings in one pass: more are no faster on a processor


class State(NamedTuple):
    """The frames at hand, and what each change was worth when it was made."""

    z: Tensor
    worth: Tensor


@dataclass(frozen=True, kw_only=True)
class SDA(Iterative):
    """`steps` rounds in which single changes are tried out; it ends for a recording as soon as that is broken.

    Round n takes `first` times n unchanged cells, those of the largest gradients that agree with an event more or less,
    then others, by lot. It passes the frames through the network with each of these changes alone. What counts is how
    the loss really differs, which sees what a gradient does not, a filter in front of the network for example. Changes
    that do not lower the loss are kept. In the end those that raised it least are taken back, as many as a bisection
    finds needless. Source: Lun et al., CVPR 2025 (sparse dynamic attack), where nothing bounds them.

    Ours: where events may move, a move is one change, of two cells. Under a budget a round keeps the best changes
    alone, at most one in `waves` of the budget. Once that is spent, they take the place of changes whose taking back,
    tried out like them, lowers the loss by less. Beside all of a round's changes, the better half of them, the best
    quarter, ... are tried, and the best of these is kept. An unbroken recording costs about ``steps**2 first / 2``
    passes, and where the budget is spent up to as many again.
    """

    under: ClassVar[tuple[str, ...]] = ("events",)
    static: ClassVar[bool] = False  # there are as many trials as there are likely changes

    steps: Count = 12
    first: Count = 10
    waves: Count = 5
    loss: AttackLoss = Margin()
    eot: Count = 1

    def begin(self, query: Query) -> State:
        return State(query.x, torch.zeros_like(query.x))

    def step(self, query: Query, state: State) -> State:
        z, worth = state
        slope, answer = query.gradient(z, self.loss)
        query.finish(answer.broken)
        rows = (~answer.broken).nonzero().squeeze(1)
        for number in query.count[rows].unique().tolist():
            z, worth = self._tried(query, rows[query.count[rows] == number], number, State(z, worth), slope, answer)
        return State(z, worth)

    def _tried(self, query: Query, rows: Tensor, number: int, state: State, slope: Tensor, answer: Answer) -> State:
        """Round `number` of the recordings of these rows."""
        trials = Trials(query, rows, on_cells(query.threat), self.loss)
        z, worth = (part[rows] for part in state)
        kept, worth = self._round(trials, number, z, answer.loss[rows], slope[rows], worth)
        kept = without_needless(trials, kept, worth)
        query.offer(kept.x, Answer(kept.loss, kept.broken), rows)
        query.finish(torch.zeros_like(query.slots.finished).index_put((rows,), kept.broken))
        return State(state.z.index_put((rows,), kept.x), state.worth.index_put((rows,), worth))

    def _round(
        self, trials: "Trials", number: int, z: Tensor, loss: Tensor, uphill: Tensor, worth: Tensor
    ) -> tuple["Kept", Tensor]:
        """What one round keeps, and of each change how it differed when it was made."""
        x, threat, count = trials.x, trials.threat, number * self.first
        wave, room = math.ceil(threat.budget / self.waves), (threat.budget - threat.distance(z, x)).long()
        new = trials.ranked(z, loss, *likeliest(uphill, z, x, threat, count, trials.streams))
        place, step = taken_back(z, x, worth, threat)
        step = step[:, : new.place.shape[1]] * (room < wave).view(-1, 1, 1)
        old = trials.ranked(z, loss, place[:, : new.place.shape[1]], step)
        kept, everyone = Kept.of(z, loss), torch.arange(len(z), device=z.device)
        while wave:
            candidate = threat.project(exchanged(z, new, old, room, wave), x)
            kept = kept.or_better(candidate, trials(candidate, everyone))
            wave //= 2
        row, turn = new.gain.isfinite().nonzero(as_tuple=True)
        each = new.gain[row, turn] / new.step[row, turn].abs().sum(1)  # half to each end of a move
        worth = worth.flatten(1).index_put((row.unsqueeze(1), new.place[row, turn]), each.unsqueeze(1)).view_as(x)
        return kept, worth.masked_fill(kept.x == x, 0)


class Ranked(NamedTuple):
    """Edits ``[b, k]``, those that raise the loss most first: by the `step` ``[b, k, 2]`` in the two cells `place`."""

    place: Tensor
    step: Tensor
    gain: Tensor


class Kept(NamedTuple):
    """The best frames of a round, their loss, and whether they are misclassified."""

    x: Tensor
    loss: Tensor
    broken: Tensor

    @staticmethod
    def of(z: Tensor, loss: Tensor) -> "Kept":
        """What the round begins with; what is no worse takes its place."""
        none = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        return Kept(z, loss.nextafter(torch.full_like(loss, -torch.inf)), none)

    def or_better(self, z: Tensor, answer: Answer) -> "Kept":
        better = answer.beats(Answer(self.loss, self.broken))
        return Kept(
            torch.where(per_image(better, z), z, self.x),
            torch.where(better, answer.loss, self.loss),
            torch.where(better, answer.broken, self.broken),
        )


@dataclass(frozen=True)
class Trials:
    """The recordings at the places `places` of a query, and the network to try their changes on."""

    query: Query
    places: Tensor
    threat: CellThreat
    loss: AttackLoss

    @property
    def x(self) -> Tensor:
        return self.query.x[self.places]

    @property
    def streams(self) -> Streams:
        return Streams(self.query.streams.key[self.places])

    def __call__(self, z: Tensor, rows: Tensor) -> Answer:
        """What the network says to `z`, changes of the recordings in these `rows` [n], the same ones many times too."""
        return self.query.answer(z, self.loss, rows=self.places[rows], offer=False)

    def ranked(self, z: Tensor, loss: Tensor, place: Tensor, step: Tensor) -> Ranked:
        """Each of these edits of `z` alone, tried out; steps of 0 are none, and come last."""
        gain = z.new_full(step.shape[:2], -torch.inf)
        tried = step.any(2).nonzero()
        for row, column in (part.unbind(1) for part in tried.split(TOGETHER) if len(part)):
            changed = changed_by(z[row], place[row, column], step[row, column])
            gain[row, column] = self(changed, row).loss - loss[row]
        gain, order = gain.sort(dim=1, descending=True)
        both = order.unsqueeze(2).expand_as(step)
        return Ranked(place.gather(1, both), step.gather(1, both), gain)


def likeliest(
    uphill: Tensor, z: Tensor, x: Tensor, threat: CellThreat, count: int, streams: Streams
) -> tuple[Tensor, Tensor]:
    """The `count` edits of unchanged cells that raise the loss most, to first order: places and steps ``[b, k, 2]``.

    Where fewer agree with the gradient, others by lot; steps of 0 where there are no more.
    """
    up, down = (mask & (z == x) for mask in threat.steps(z, x))
    uphill = torch.where(per_image((uphill == 0).flatten(1).all(1), x), streams.normal(*x.shape[1:], like=x), uphill)
    rise, fall = uphill.masked_fill(~up, -torch.inf), (-uphill).masked_fill(~down, -torch.inf)
    way = torch.where(rise >= fall, 1.0, -1.0).to(x.dtype) * (up | down)
    way = threat.partnered(way, uphill, z, x) * (z == x)
    edits = threat.edits(way, way * uphill)
    lot = streams.uniform(*x.shape[1:], like=x).flatten(1)[edits.recording, edits.cells[:, 0]]
    return in_rows(edits, torch.where(edits.worth > 0, edits.worth, lot - 1), len(x), count)


def taken_back(z: Tensor, x: Tensor, worth: Tensor, threat: CellThreat) -> tuple[Tensor, Tensor]:
    """What takes the edits of `x` back that made `z`, those of least `worth` first: places and steps ``[b, k, 2]``."""
    edits = threat.edits(z - x, worth.abs())
    place, step = in_rows(edits, -edits.worth, len(x), threat.budget)
    return place, -step


def in_rows(edits: Edits, worth: Tensor, count: int, most: int) -> tuple[Tensor, Tensor]:
    """The places and steps of the edits of each of `count` recordings, the `most` of largest worth, in this order.

    Both are ``[count, k, 2]``; a recording with fewer of them has steps of 0, and k is 1 at least.
    """
    turn = spent_before(edits.recording, worth, torch.ones_like(edits.recording))
    first = turn < most
    columns = int(turn[first].max()) + 1 if first.any() else 1
    place = torch.zeros(count, columns, 2, dtype=torch.long, device=worth.device)
    step = torch.zeros(count, columns, 2, dtype=worth.dtype, device=worth.device)
    where = edits.recording[first], turn[first]
    place[where], step[where] = edits.cells[first], edits.ways[first].to(step.dtype)
    return place, step


def changed_by(z: Tensor, place: Tensor, step: Tensor) -> Tensor:
    """`z` with these steps ``[b, ...]`` in these cells."""
    return z.flatten(1).scatter_add(1, place.flatten(1), step.flatten(1)).view_as(z)


def exchanged(z: Tensor, new: Ranked, old: Ranked, room: Tensor, most: int) -> Tensor:
    """`z` with the best of the `new` edits, `most` at most; beyond `room` [b] each in the place of an `old` one.

    An edit in free room must not lower the loss, one in an old one's place must raise it by more than that costs.
    """
    turn = torch.arange(new.gain.shape[1], device=z.device)
    partner = turn - room.unsqueeze(1)  # [b, k]
    free, last = partner < 0, old.gain.shape[1] - 1
    partner, missing = partner.clamp(0, last), partner > last
    both = new.gain + old.gain.gather(1, partner).masked_fill(missing, -torch.inf)
    made = (turn < most) & torch.where(free, new.gain >= 0, both > 0)
    undone = torch.zeros_like(old.gain).scatter_add(1, partner, (made & ~free).to(z.dtype))
    changed = changed_by(z, new.place, new.step * made.unsqueeze(2))
    return changed_by(changed, old.place, old.step * undone.unsqueeze(2))


def without_needless(trials: Trials, kept: Kept, worth: Tensor) -> Kept:
    """What is kept, the broken ones without the edits of least `worth`, as many as bisection finds needless."""
    places = kept.broken.nonzero().squeeze(1)
    z, x = kept.x[places], trials.x[places]
    place, step = taken_back(z, x, worth[places], trials.threat)
    turn = torch.arange(step.shape[1], device=x.device).view(1, -1, 1)
    low, high = torch.zeros_like(places), step.any(2).sum(1)  # so many are needless, so many are not
    while len(rows := (high - low > 1).nonzero().squeeze(1)):
        middle = (low[rows] + high[rows]) // 2
        fewer = changed_by(z[rows], place[rows], step[rows] * (turn < middle.view(-1, 1, 1)))
        answer = trials(fewer, places[rows])
        enough = answer.broken & trials.threat.contains(fewer, x[rows])
        there = places[rows[enough]]
        kept.x[there], kept.loss[there] = fewer[enough], answer.loss[enough]
        low[rows], high[rows] = torch.where(enough, middle, low[rows]), torch.where(enough, high[rows], middle)
    return kept

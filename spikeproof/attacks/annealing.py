"""Annealing: walks on the network's own answers, from where gradient climbs end.

Spikes make a network flat nearly everywhere. A surrogate gradient says which way is up, and not where the next step
of the network itself lies. So a climb ends near an image that is misclassified, and does not find it.
"""

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Outcome
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.losses import Margin, TargetedMargin, others
from spikeproof.attacks.query import TOGETHER, Answer, Memory, Query, Task, best_of, per_image
from spikeproof.attacks.sa_pgd import SAPGD
from spikeproof.attacks.square import Window, pictures
from spikeproof.attacks.targeted import check_led
from spikeproof.attacks.threats import Threat
from spikeproof.choices import AtLeast, Count, Share
from spikeproof.randomness import Streams, scaled

FEW = 0.1  # of the pixels change at most where they change one by one
WIDE = 0.375  # of the image is a block's side at most
LENGTHS = (2.0, 0.02)  # of a step along the gradient, in eps: the longest and the shortest


@dataclass(frozen=True, kw_only=True)
class Annealing(Attack):
    """`chains` walks for each image, annealed on the margin that the network answers, from where gradient climbs end.

    First `climb` is led to every other class, then anew to those that came near: `climbs` in all. The best ends are
    the chains. A walk is `rounds` of one gradient and `proposals`. Each proposal changes a few pixels or a block, takes
    pixels from another chain of the image, or steps along the gradient in a part of the pixels. It is taken where the
    margin rises, or falls by less than chance allows: ``heat`` times the image's own margin, less in every round. Where
    climbs do not come within ``near`` of that margin, there is no walk. Source: ours; annealing is Kirkpatrick et al.,
    Science 1983.
    """

    climb: Attack = SAPGD(steps=60, loss=TargetedMargin())
    climbs: Count = 32
    chains: Count = 24
    rounds: Count = 240
    proposals: Count = 12
    heat: Annotated[float, AtLeast(0)] = 0.006
    near: Share = 0.2
    eot: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_led("Annealing", self.climb)

    def check(self, threat: Threat) -> None:
        self.climb.check(threat)

    def on(self, model: torch.nn.Module, *, trust: bool = False) -> "Annealing":
        return replace(self, climb=self.climb.on(model, trust=trust))

    def averaging(self, draws: int) -> Attack:
        return replace(super().averaging(draws), climb=self.climb.averaging(draws))  # type: ignore[type-var]

    def search(self, task: Task) -> Outcome:
        task = replace(task, width=task.width or max(len(task.x), TOGETHER))
        query = Query.over(task, self.eot)
        logits = query.logits(task.x)
        first = Answer.of(logits, task.y, Margin()(logits, task.y))
        query.offer(task.x, first)
        ranked = others(logits, task.y).argsort(1, descending=True)[:, : min(self.climbs, logits.shape[1] - 1)]
        rows = query.left()
        ends, level = self._led(query, rows, ranked[rows], EVERY)
        if self.climbs > ranked.shape[1]:
            rows, ends, level = _left(query, rows, ends, level)
            goals = self._came_near(ranked[rows], level, first.loss[rows])
            more = self._led(query, rows, goals, NEAR)
            ends, level = (torch.cat(pair, 1) for pair in zip((ends, level), more, strict=True))
        near = level.amax(1) >= self.near * first.loss[rows]
        rows, ends, level = _left(query, rows[near], ends[near], level[near])
        if len(rows):
            walk = Walk(self, self._best(ends, level), self.heat * first.loss[rows].abs())
            found = walk.search(walk.fitted(task.of(rows).turned(WALK)))
            query.spend(found.gradients, found.forwards, rows)
            query.answer(found.x, Margin(), rows=rows)
        return Outcome(query.slots.found, query.slots.gradients, query.slots.forwards, query.slots.broken)

    def _led(self, query: Query, rows: Tensor, goals: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        """Where climbs of the images `rows` to `goals` ``[b, G]`` end ``[b, G, ...]``; the margins there ``[b, G]``."""
        many, task = goals.shape[1], query.task.of(rows)
        if not len(rows):
            return task.x.unsqueeze(1).expand(-1, many, *task.x.shape[1:]), task.x.new_zeros(0, many)
        each = torch.arange(len(rows), device=rows.device).repeat_interleave(many)
        led = replace(
            task,
            x=task.x[each],
            y=torch.stack([task.y[each], goals.flatten()], 1),
            streams=task.streams.turn(stage).split(many),
        )
        found = self.climb.search(led)
        query.spend(found.gradients, found.forwards, rows[each])
        answer = query.answer(found.x, Margin(), rows=rows[each], offer=False)
        query.offer(*best_of(found.x, answer, many), rows)
        return found.x.view(len(rows), many, *task.x.shape[1:]), answer.loss.view(-1, many)

    def _came_near(self, goals: Tensor, level: Tensor, margin: Tensor) -> Tensor:
        """For each further climb one of those `goals` ``[b, G]`` whose climbs came nearest, in turn.

        Nearest are those within a share `near` of the image's own `margin` ``[b]`` of the best `level` ``[b, G]``.
        """
        best = level.amax(1, keepdim=True)
        nearest = (level >= best + self.near * margin.unsqueeze(1).clamp(max=0)).sum(1, keepdim=True)
        turns = torch.arange(self.climbs - goals.shape[1], device=goals.device) % nearest
        return goals.gather(1, level.argsort(1, descending=True)).gather(1, turns)

    def _best(self, ends: Tensor, level: Tensor) -> Tensor:
        """The best `chains` of the ends ``[b, G, ...]``; they are taken several times where there are fewer."""
        order = level.argsort(dim=1, descending=True, stable=True)
        order = order[:, torch.arange(self.chains, device=order.device) % level.shape[1]]
        return ends[torch.arange(len(ends), device=order.device).unsqueeze(1), order]


EVERY, NEAR, WALK = range(3)  # climbs to every class, and to those that came near: each has random numbers of its own


class State(NamedTuple):
    """Where the chains of each image are ``[B, chains, ...]``, and their margins ``[B, chains]``."""

    z: Tensor
    level: Tensor


@dataclass(frozen=True)
class Walk(Iterative):
    """The second half of `Annealing`: from `starts` ``[B, chains, ...]``, with a `heat` for each image ``[B]``."""

    attack: Annealing
    starts: Tensor
    heat: Tensor

    @property
    def eot(self) -> int:  # type: ignore[override]
        return self.attack.eot

    @property
    def length(self) -> int:
        return self.attack.rounds

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def fitted(self, task: Task) -> Task:
        """As many images side by side as all their chains have room for."""
        width = max(1, (task.width or len(task.x)) // self.starts.shape[1])
        return replace(task, width=width, memory=forgetful(task.memory))

    def begin(self, query: Query) -> State:
        z = self.starts[query.slots.place]
        return State(z, z.new_full(z.shape[:2], -torch.inf))

    def step(self, query: Query, state: State) -> State:
        """A gradient at every chain, and then the proposals, one after another."""
        (batch, chains), each = state.z.shape[:2], self.attack.proposals
        rows = torch.arange(batch, device=state.z.device).repeat_interleave(chains)
        streams, place = query.streams.split(chains), query.slots.place.clamp(min=0)
        z = state.z.flatten(0, 1)
        slope, answer = query.gradient(z, Margin(), rows=rows, offer=False)
        query.offer(*best_of(z, answer, chains))
        level, change = answer.loss, Change(query.x[rows], query.threat, slope, streams, chains)
        for number in range(each):
            left = 1 - ((query.count - 1) * each + number) / (self.attack.rounds * each)
            tried = change.of(z)
            now = query.answer(tried, Margin(), rows=rows, offer=False)
            query.offer(*best_of(tried, now, chains))
            chance = streams.uniform(1, like=level).squeeze(1).log()
            taken = now.loss >= level + (self.heat[place] * left)[rows] * chance
            z, level = torch.where(per_image(taken, z), tried, z), torch.where(taken, now.loss, level)
        return State(z.view_as(state.z), level.view(batch, chains))


@dataclass(frozen=True)
class Change:
    """One change to each chain, of four kinds; `x` are the images of the chains, and `slope` their gradients."""

    x: Tensor
    threat: Threat
    slope: Tensor
    streams: Streams
    chains: int

    def of(self, z: Tensor) -> Tensor:
        kind = self._lot(z)
        changed = torch.where(kind < 0.25, self._pixels(z), self._block(z))
        changed = torch.where(kind < 0.55, changed, self._crossed(z))
        changed = torch.where(kind < 0.70, changed, self._uphill(z))
        return self.threat.project(changed, self.x)

    def _lot(self, z: Tensor) -> Tensor:
        """A number in (0, 1) for each chain."""
        return per_image(self.streams.uniform(1, like=z).squeeze(1), z)

    def _lots(self, z: Tensor) -> Tensor:
        """A number in (0, 1) for each pixel."""
        return self.streams.uniform(*z.shape[1:], like=z)

    def _anywhere(self, z: Tensor) -> Tensor:
        """Values of any size that the threat could allow a pixel."""
        return self.x + self.threat.eps * (2 * self._lots(z) - 1)

    def _pixels(self, z: Tensor) -> Tensor:
        """A few pixels, from one to a tenth of all, anywhere."""
        least = min(FEW, 1 / z[0].numel())
        few = FEW * (least / FEW) ** self._lot(z)
        return torch.where(self._lots(z) < few, self._anywhere(z), z)

    def _block(self, z: Tensor) -> Tensor:
        """A square of all channels: every pixel anywhere, or all at one end."""
        shown, lots = pictures(z), self.streams.bits(3)
        widest = max(1, round(WIDE * min(shown.shape[2:])))
        rows, columns = Window.drawn(shown, 1 + scaled(lots[:, 2], widest), lots[:, :2]).inside(shown)
        inside = (rows * columns).unsqueeze(1).expand_as(shown).reshape(z.shape) > 0
        side = self._lot(z)
        end = self.x + self.threat.eps * torch.where(side < 0.25, -1.0, 1.0).to(z.dtype)
        return torch.where(inside, torch.where(side < 0.5, end, self._anywhere(z)), z)

    def _crossed(self, z: Tensor) -> Tensor:
        """Pixels of another chain of the same image, up to half of all."""
        own = torch.arange(len(z), device=z.device)
        other = own // self.chains * self.chains + self.streams.below(self.chains, 1).squeeze(1)
        return torch.where(self._lots(z) < self._lot(z) / 2, z[other], z)

    def _uphill(self, z: Tensor) -> Tensor:
        """A step of any length along the gradient, in a part of the pixels."""
        longest, shortest = LENGTHS
        length = self.threat.eps * longest * (shortest / longest) ** self._lot(z)
        part = self._lots(z) < 50 ** -self._lot(z)
        return torch.where(part, z + length * self.threat.ascent(self.slope, z), z)


def _left(query: Query, rows: Tensor, *records: Tensor) -> tuple[Tensor, ...]:
    """Those of the images `rows`, and of records of them, that are still to be attacked."""
    here = torch.isin(rows, query.left())
    return rows[here], *(record[here] for record in records)


def forgetful(memory: Memory | None) -> Memory | None:
    """What a path remembers of an image is nothing here: the chains of an image would share it."""
    return memory and Memory(lambda model, _, learn=True: memory.recall(model, None), lambda model: ())

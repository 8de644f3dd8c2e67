"""What does a network answer round its images: along its gradients, at random, and on the way to another class?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks import Margin
from spikeproof.attacks.losses import entry, others
from spikeproof.attacks.query import Answer, Query, Task, per_image
from spikeproof.calling import as_evaluated, in_full_precision, predict
from spikeproof.evaluation.flags.inspection import OWN, along
from spikeproof.evaluation.flags.trials import Trials
from spikeproof.randomness import Streams, seeded

LENGTHS = (0.25, 0.5, 1.0)  # of the steps away from an image, in units of eps
RANDOM = 7  # directions beside those of the gradients
SAME = 1e-6  # margins nearer to each other than this, in units of the logits, are one
HALVINGS = 12  # of the way to another class

# What a gradient may be asked for: the loss, minus the margin, and the two scores that make it.
ASKED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "margin": Margin(),
    "own score": lambda logits, y: -entry(logits, y),
    "rival's score": lambda logits, y: others(logits, y).amax(1),
}


class Probe(NamedTuple):
    """A loss at a place of each image's threat ``[B]``, and steps away from there ``[B, directions, lengths]``.

    `along` are directions of its gradients, one a path; `beside` are random ones.
    """

    here: Tensor
    along: Tensor
    beside: Tensor
    scale: Tensor  # of the logits ``[B]``

    @property
    def moved(self) -> Tensor:
        """Which images have a loss that changes at all ``[B]``."""
        steps = torch.cat([self.along, self.beside], 1).flatten(1)
        return ((steps - self.here.unsqueeze(1)).abs() > SAME * self.scale.unsqueeze(1)).any(1)

    @property
    def up(self) -> Tensor:
        """How far up the gradient leads, the mean over all lengths ``[B, 1]``; of several gradients the best."""
        return self.along.mean(2).amax(1, keepdim=True)

    @property
    def outdone(self) -> Tensor:
        """The share of random directions that lead as far up as the gradient does ``[B]``."""
        return (self.beside.mean(2) >= self.up).double().mean(1)

    @property
    def turned(self) -> Tensor:
        """Where every random direction leads further up than the gradient does ``[B]``."""
        return (self.beside.mean(2) > self.up).all(1)


def probed(trials: Trials) -> dict[str, Probe] | None:
    """What steps along gradients and random directions lead to, from a random place of each threat, of all that is
    `ASKED`; None where the threat is no ball."""
    if trials.threat.kind not in ("images", "frames"):
        return None
    return trials.once("probe", lambda: probed_from(trials, None))


def probed_from(trials: Trials, places: Tensor | None, asked: Sequence[str] = tuple(ASKED)) -> dict[str, Probe]:
    """The same from these `places` ``[B, C, H, W]`` (None: random ones)."""
    parts = trials.shared(lambda rows: _probe(trials, rows, places, asked))
    size = len(Probe._fields)
    return {name: Probe(*parts[size * k : size * (k + 1)]) for k, name in enumerate(asked)}


class Standing(NamedTuple):
    """Places ``[B, ...]``, one in the threat of each image `x`, the gradients there, one a path, and who is asked."""

    query: Query
    x: Tensor
    base: Tensor
    logits: Tensor
    slopes: list[Tensor]
    streams: Streams
    paths: list[Query]

    def slopes_at(self, z: Tensor, asked: str = "margin") -> list[Tensor]:
        """The gradients at other places `z`, one a path, of one of those `ASKED`."""
        return [path.gradient(z, ASKED[asked], offer=False)[0] for path in self.paths]

    def step(self, direction: Tensor, lengths: Sequence[float] = LENGTHS, asked: str = "margin") -> Tensor:
        """The loss that steps along `direction`, of length 1, lead to ``[B, lengths]``; lengths are in units of eps."""
        return self.loss(self.logits_after(direction, lengths), asked)

    def logits_after(self, direction: Tensor, lengths: Sequence[float] = LENGTHS) -> Tensor:
        """The logits that these steps lead to ``[B, lengths, K]``."""
        threat = self.query.threat
        ends = [threat.project(self.base + length * threat.eps * direction, self.x) for length in lengths]
        return torch.stack([self.query.logits(z) for z in ends], 1)

    def loss(self, logits: Tensor, asked: str = "margin") -> Tensor:
        """One of the losses `ASKED` ``[B, ...]``, of logits ``[B, ..., K]``."""
        rows = logits.reshape(-1, logits.shape[-1])
        y = self.query.y.repeat_interleave(len(rows) // len(logits), 0)
        return ASKED[asked](rows, y).view(logits.shape[:-1])

    def noise(self) -> Tensor:
        """Normal numbers like the images, other ones in each call."""
        return self.streams.normal(*self.x.shape[1:], like=self.x)


@contextmanager
def standing(trials: Trials, rows: Tensor, places: Tensor | None = None) -> Iterator[Standing]:
    """These rows at random places of their threats, or at `places`; what is asked inside the block is counted."""
    x, y, threat, model = trials.x[rows], trials.y[rows], trials.threat, trials.judge.attacked
    streams = Streams.of(trials.seed, trials.index[rows].to(x.device))
    task = Task(model, x, y, threat, streams, stop=False, width=trials.batch)
    with seeded(trials.seed, x.device), as_evaluated(model), in_full_precision():
        query = Query.over(task, eot=trials.judge.draws)
        # off the grey levels of a data set, at which a code may have its steps
        base = threat.start(x, streams) if places is None else places[rows]
        logits = query.logits(base)
        # along its own path what was attacked, and not another copy of it
        views = along(trials.judge.model, trials.paths) | {OWN: model}
        asked = [Query.over(replace(task, model=seen), eot=trials.judge.draws) for seen in views.values()]
        slopes = [each.gradient(base, Margin(), offer=False)[0] for each in asked]
        yield Standing(query, x, base, logits, slopes, streams, asked)
    for each in (query, *asked):
        trials.spend(each.slots.gradients, each.slots.forwards)


def _probe(trials: Trials, rows: Tensor, places: Tensor | None, asked: Sequence[str]) -> tuple[Tensor, ...]:
    """Of these rows the parts of a `Probe` for each one `asked`, one after the other; all parts have a row each."""
    with standing(trials, rows, places) as here:
        ascent = here.query.threat.ascent
        slopes = {name: here.slopes if name == "margin" else here.slopes_at(here.base, name) for name in asked}
        ahead = {
            name: torch.stack([here.step(ascent(slope, here.base), asked=name) for slope in found], 1)
            for name, found in slopes.items()
        }
        drawn = torch.stack([here.logits_after(ascent(here.noise(), here.base)) for _ in range(RANDOM)], 1)
        scale = here.logits.abs().amax(1).clamp(min=1e-30)
        return tuple(
            part
            for name in asked
            for part in Probe(here.loss(here.logits, name), ahead[name], here.loss(drawn, name), scale)
        )


def rising(trials: Trials) -> Tensor | None:
    """Whether an image's margin is larger just before another class than at the image ``[B]``; None where all are of
    one class, or the threat is no ball. The way leads to another image, and is halved until the class changes."""
    if trials.threat.kind not in ("images", "frames") or (trials.y == trials.y[0]).all():
        return None
    return trials.once("rising", lambda: trials.shared(lambda rows: (_rising(trials, rows),))[0])


def _rising(trials: Trials, rows: Tensor) -> Tensor:
    """Of these rows."""
    x, y, model, draws = trials.x[rows], trials.y[rows], trials.judge.fresh(), trials.judge.draws
    others = (trials.y.roll(-1) != trials.y).nonzero().squeeze(1)  # each has an image of another class after it
    last = others[torch.searchsorted(others, rows.to(others)) % len(others)]
    goal = trials.x[(last + 1) % len(trials.x)]

    def logits_at(z: Tensor) -> Tensor:
        return predict(model, z, draws=draws, seed=trials.seed).to(x.device)

    def loss(logits: Tensor) -> Answer:
        return Answer.of(logits, y, Margin()(logits, y))

    clean = logits_at(x)
    first = loss(clean).loss
    before, near, far = first.clone(), torch.zeros_like(first), torch.ones_like(first)
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        there = loss(logits_at(x + per_image(middle, x) * (goal - x)))
        before = torch.where(there.broken, before, there.loss)
        near, far = torch.where(there.broken, near, middle), torch.where(there.broken, middle, far)
    trials.spend(torch.zeros(len(x)), torch.full((len(x),), draws * (HALVINGS + 1)))
    return first - before > SAME * clean.abs().amax(1)

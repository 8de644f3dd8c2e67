"""Does any case break a certificate of event recordings? `python -m benchmarks.event_soundness [--cases 1000000]`.

Every check enumerates all outcomes of the noise at a small size, takes the worst classifier there is or one near it,
and counts the cases in which a certificate says more than is true: there must be none. Tests run fewer cases.
`closest` is how much of the majority was left where least was: 0 where the certificate is tight.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from benchmarks.soundness import TINY, Checked, check_all, options_of, worst_mass
from spikeproof.attacks import EventEdits, EventFlips, Retiming
from spikeproof.certificates import (
    CellAblation,
    DeletionSmoothing,
    FlipSmoothing,
    Framed,
    GaussianRetiming,
    RecordingDeletion,
    RecordingEdits,
    UniformRetiming,
)
from spikeproof.certificates.edit_smoothing import EditSmoothing
from spikeproof.certificates.event_bounds import SURE, ablation_least, deletion_least, flip_least, masses
from spikeproof.data import Framing, Sensor

ABOVE = 1e-7  # what is certified is above the least probability, by so little here
NONE = torch.zeros(0)
MULTIPLIER = -7046029254386353131  # 2^64 over the golden ratio, as a signed number


def _counted(cases: int, seed: int, case: Callable[[np.random.Generator], list[float]]) -> Checked:
    """Of a `case`, what was left of the majority wherever something was certified; below 0 it is a violation."""
    draw, done, wrong, closest = np.random.default_rng(seed), 0, 0, math.inf
    while done < cases:
        left = case(draw)
        done, wrong = done + len(left), wrong + sum(one < -TINY for one in left)
        closest = min([closest, *left])
    return Checked(done, wrong, closest)


def _worst_above(here: np.ndarray, there: np.ndarray, least: float) -> list[float]:
    """What is left of the majority under `there` just above `least`, and further; masses ``[M]`` of all outcomes."""
    levels = [p for p in (least + ABOVE, (least + 1) / 2, 0.999) if least + SURE < p <= 1]
    return [float(worst_mass(here[None], there[None], p)[0]) - 0.5 for p in levels]


def deletion(cases: int, seed: int = 0) -> Checked:
    """Every set of events that may be kept, of up to three that are in both recordings, in the one, in the other."""

    def case(draw: np.random.Generator) -> list[float]:
        shared, inserted, deleted = draw.integers(0, 4, 3)
        p = float(draw.choice([draw.uniform(0.5, 1), draw.uniform(0.8, 0.999)]))
        here, there = np.ones(1), np.ones(1)
        for count, in_here, in_there in ((shared, 1, 1), (deleted, 1, 0), (inserted, 0, 1)):
            for _ in range(count):
                here = np.outer(here, [p, 1 - p] if in_here else [1, 0]).ravel()
                there = np.outer(there, [p, 1 - p] if in_there else [1, 0]).ravel()
        return _worst_above(here, there, deletion_least(p, int(inserted), int(deleted)))

    return _counted(cases, seed, case)


def flips(cases: int, seed: int = 0) -> Checked:
    """Every outcome of up to eight cells, one by one."""

    def case(draw: np.random.Generator) -> list[float]:
        inserted, deleted = draw.integers(0, 5, 2)
        appear = float(draw.choice([0.0, draw.uniform(0, 0.2), draw.uniform(0, 0.9)]))
        vanish = float(draw.uniform(0, 1 - appear)) * 0.999
        here, there = np.ones(1), np.ones(1)
        silent, active = [1 - appear, appear], [vanish, 1 - vanish]
        for one, other in [(silent, active)] * inserted + [(active, silent)] * deleted:
            here, there = np.outer(here, one).ravel(), np.outer(there, other).ravel()
        return _worst_above(here, there, flip_least(appear, vanish, int(inserted), int(deleted)))

    return _counted(cases, seed, case)


def ablation(cases: int, seed: int = 0) -> Checked:
    """Every choice of k of up to eight cells."""

    def case(draw: np.random.Generator) -> list[float]:
        cells = int(draw.integers(2, 9))
        kept, changed = int(draw.integers(1, cells + 1)), int(draw.integers(0, cells + 1))
        seen = np.array([min(choice) < changed for choice in combinations(range(cells), kept)])
        here = np.concatenate([np.ones(len(seen)), np.zeros(seen.sum())]) / len(seen)
        there = np.concatenate([~seen, np.ones(seen.sum())]) / len(seen)
        return _worst_above(here, there, ablation_least(kept, cells, changed))

    return _counted(cases, seed, case)


def uniform(cases: int, seed: int = 0) -> Checked:
    """Every outcome of up to three events whose times get uniform noise on a grid of m points: `most` is m / 2."""

    def case(draw: np.random.Generator) -> list[float]:
        events, points = int(draw.integers(1, 4)), int(draw.integers(2, 9))
        p = float(draw.uniform(0.5, 1))
        budget = math.ceil(UniformRetiming(most=points / 2).radius(p, NONE, 1)) - 1  # within an open ball
        shifts = draw.multinomial(budget, np.full(events, 1 / events))
        grid = np.array(list(product(range(points + budget), repeat=events)))
        here = (grid < points).all(1) / points**events
        there = ((grid >= shifts) & (grid < shifts + points)).all(1) / points**events
        return [float(worst_mass(here[None], there[None], p)[0]) - 0.5]

    return _counted(cases, seed, case)


def gaussian(cases: int, seed: int = 0) -> Checked:
    """Half-spaces of times, which are the worst classifiers, along any direction: their distance is the radius."""

    def case(draw: np.random.Generator) -> list[float]:
        certificate = GaussianRetiming(sigma=float(draw.uniform(10, 1e5)))
        normal = draw.normal(size=int(draw.integers(1, 6)))
        p = float(draw.uniform(0.501, 0.9999))
        delay = -normal / np.linalg.norm(normal) * certificate.radius(p, NONE, 1) * (1 - TINY)
        if draw.random() < 0.5:
            delay = draw.permutation(delay)
        offset = float(ndtri(p)) * certificate.sigma  # of the boundary, along the normal
        return [float(ndtr((offset + delay @ normal / np.linalg.norm(normal)) / certificate.sigma)) - 0.5]

    return _counted(cases, seed, case)


def every_recording(cases: int, seed: int = 0, of: str = "deletion") -> Checked:
    """All recordings of two frames and two or three pixels, all outcomes, and the threats themselves.

    The classifier is the worst of some pair, cut at a chance level: the smoothed class is known exactly everywhere.
    Each other recording inside a radius or a threat is a case.
    """
    most = 2 if of == "deletion" else 1
    pixels = 3 if of == "ablation" else 2
    whole = torch.tensor(list(product(range(most + 1), repeat=2 * pixels)), dtype=torch.float32)
    whole = whole.view(-1, 2, 1, 1, pixels)

    def case(draw: np.random.Generator) -> list[float]:
        certificate = _drawn(of, draw)
        table = _outcomes(certificate, whole.flatten(1).long().numpy())  # [recordings, outcomes]
        x, other = draw.integers(len(whole), size=2)
        order = (table[other] / table[x].clip(1e-300) + 1e-6 * draw.random(table.shape[1])).argsort()
        reached = table[x][order].cumsum()
        named = order[: np.searchsorted(reached, float(draw.uniform(0.5, 1))) + 1]
        p = float(min(1.0, table[x][named].sum()))
        if p <= 0.5:
            return []
        left = table[:, named].sum(1) - 0.5
        return [one for inside in _certified(certificate, whole, int(x), p, draw) for one in left[inside].tolist()]

    return _counted(cases, seed, case)


def _drawn(of: str, draw: np.random.Generator) -> EditSmoothing:
    if of == "deletion":
        return DeletionSmoothing(probability=float(draw.uniform(0.5, 0.999)))
    if of == "ablation":
        return CellAblation(kept=int(draw.integers(1, 3)))
    appear = float(draw.choice([0.0, draw.uniform(0, 0.3)]))
    return FlipSmoothing(appear=appear, vanish=float(draw.uniform(0.2, 0.69)))


def _outcomes(certificate: EditSmoothing, counts: np.ndarray) -> np.ndarray:
    """The probability at each recording ``[N]`` of each outcome ``[N, M]``."""
    if isinstance(certificate, CellAblation):
        choices = list(combinations(range(counts.shape[1]), certificate.kept))
        seen = [[(choice, tuple(row[list(choice)])) for choice in choices] for row in counts]
        names = {one: number for number, one in enumerate(dict.fromkeys(one for row in seen for one in row))}
        table = np.zeros((len(counts), len(names)))
        for number, row in enumerate(seen):
            table[number, [names[one] for one in row]] = 1 / len(choices)
        return table
    if isinstance(certificate, FlipSmoothing):
        cell = [masses(1, certificate.appear), masses(1, 1 - certificate.vanish)]
    else:
        assert isinstance(certificate, DeletionSmoothing)
        cell = [np.pad(masses(count, 1 - certificate.probability), (0, 2 - count)) for count in range(3)]
    rows = np.stack(cell)  # [counts before, counts after]
    table = np.ones((len(counts), 1))
    for column in counts.T:
        table = (table[:, :, None] * rows[column][:, None, :]).reshape(len(counts), -1)
    return table


def _certified(
    certificate: EditSmoothing, whole: torch.Tensor, x: int, p: float, draw: np.random.Generator
) -> list[np.ndarray]:
    """The other recordings ``[N]`` inside the radius, and inside each threat that is withstood, by the threats' own
    word."""
    at, binary = whole[x], whole.max() == 1
    radius = int(certificate.reached(p, at, 1))
    eps = int(draw.integers(1, 5))
    threats = [EventEdits(radius), EventEdits(eps, add=0, remove=0), EventEdits(eps, move=0)]
    threats += [EventEdits(eps, remove=0, move=0), EventEdits(eps, add=0, move=0), EventEdits(eps, add=1, move=1)]
    if binary:
        threats += [EventFlips(eps), EventFlips(eps, only="insert"), EventFlips(eps, only="delete")]
    withstood = [t for t in threats if t.eps == 0 or certificate.withstands(p, t, at)]
    moved = [Retiming(radius, by="moved")] if binary and radius else []
    here = at.expand_as(whole)
    others = np.arange(len(whole)) != x
    return [threat.contains(whole, here).numpy() & others for threat in (*withstood, *moved)]


def raw_events(cases: int, seed: int = 0) -> Checked:
    """`RecordingDeletion` with framings that count from the first event, or by number: every set of kept events.

    A class is drawn for each of the frames there may be, mostly the one of the recording at hand.
    """
    sensor = Sensor(height=1, width=2)
    framings = [Framing(steps=2, by="number"), Framing(steps=2), Framing(steps=2, span=4)]
    framings.append(replace(framings[2], since="zero", values="binary"))

    def case(draw: np.random.Generator) -> list[float]:
        certificate = RecordingDeletion(probability=float(draw.uniform(0.7, 0.99)))
        table = _Frames(int(draw.integers(2**31)), float(draw.uniform(0.7, 1)))
        network = Framed(table, framings[int(draw.integers(len(framings)))], sensor)
        x = _events(draw, int(draw.integers(1, 6)))
        named = 1
        p = _share(network, x, certificate.probability, named)
        radius = int(certificate.reached(p, x, 1))
        if not radius:
            return []
        left = []
        for _ in range(10):
            other = x[torch.from_numpy(draw.permutation(len(x)))]
            fresh = _events(draw, min(radius, 4))  # of n events there are 2^n outcomes
            spare = int(draw.integers(0, radius + 1))
            other = torch.cat([other[min(spare, len(other)) :], fresh[: int(draw.integers(0, radius + 1))]])
            size = max(len(other), len(x))
            padded = [torch.cat([one, torch.full((size - len(one), 4), -1)])[None] for one in (other, x)]
            assert RecordingEdits(radius).contains(*padded)
            left.append(_share(network, other, certificate.probability, named) - 0.5)
        return left

    return _counted(cases, seed, case)


class _Frames(torch.nn.Module):
    """Class 1 for a `share` of all frames, by a hash."""

    def __init__(self, seed: int, share: float) -> None:
        super().__init__()
        self.seed, self.share = seed, share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = (x.flatten(1).long() * 7 ** torch.arange(x[0].numel())).sum(1) + self.seed
        drawn = (frames * MULTIPLIER).bitwise_right_shift(33) % 2**30 / 2**30
        one = (drawn < self.share).float()
        return torch.stack([1 - one, one], 1)


def _events(draw: np.random.Generator, count: int) -> torch.Tensor:
    columns = (draw.integers(0, 8, count), draw.integers(0, 2, count), np.zeros(count, int), draw.integers(0, 2, count))
    return torch.from_numpy(np.stack(columns, 1))


def _share(network: Framed, x: torch.Tensor, probability: float, named: int) -> float:
    """The exact probability of a class, over every set of events that is kept."""
    kept = torch.tensor(list(product((False, True), repeat=len(x))), dtype=torch.bool).view(2 ** len(x), len(x))
    drawn = x.expand(len(kept), -1, -1).clone()
    drawn[..., 3] = torch.where(kept, drawn[..., 3], -1)
    chance = (1 - probability) ** kept.sum(1).double() * probability ** (~kept).sum(1).double()
    return float(chance[network(drawn).argmax(1) == named].sum())


CHECKS: dict[str, Callable[[int], Checked]] = {
    "deletion": deletion,
    "flips": flips,
    "ablation": ablation,
    "UniformRetiming": uniform,
    "GaussianRetiming": gaussian,
    "DeletionSmoothing, every recording": lambda cases: every_recording(cases, of="deletion"),
    "FlipSmoothing, every recording": lambda cases: every_recording(cases, of="flips"),
    "CellAblation, every recording": lambda cases: every_recording(cases, of="ablation"),
    "RecordingDeletion, every framing": raw_events,
}


def main() -> None:
    options = options_of(__doc__, CHECKS).parse_args()
    check_all({name: CHECKS[name] for name in options.check or CHECKS}, options.cases, options.out)


if __name__ == "__main__":
    main()

"""Which attack broke how many images of each network, and at which eps?"""

from collections.abc import Sequence
from dataclasses import dataclass

from spikeproof.reports.reading.contenders import Contender
from spikeproof.reports.reading.evidence import Judged

FEW = 6  # attacks that a table, and its colours, show one by one


@dataclass(frozen=True)
class Breakdown:
    """Images of one network under one threat, a mean over its seeds; the parts add up to all images.

    `broken` counts for each attack of the suite the images credited to it, at this eps or a smaller one.
    """

    threat: str
    wrong: float
    broken: tuple[float, ...]
    holds: float

    def by(self, attacks: "Together") -> float:
        return sum(self.broken[member] for member in attacks.members)


@dataclass(frozen=True)
class Together:
    """Attacks of a suite, by their number, whose images are counted together; `title` names them in full."""

    label: str
    title: str
    members: tuple[int, ...]


def breakdowns(contender: Contender) -> list[Breakdown]:
    """One for each threat, smallest eps first; empty for a network that is not ranked."""
    shared = contender.seeds[0].conditions
    if shared is None or not contender.row.rank:
        return []
    counts = [
        [_counts(verdicts, index, len(shared.attacks)) for verdicts in contender.verdicts]
        for index in range(len(shared.threats))
    ]
    means = [[sum(part) / len(part) for part in zip(*seeds, strict=True)] for seeds in counts]
    return [
        Breakdown(threat.label, wrong, tuple(broken), holds)
        for threat, (wrong, *broken, holds) in zip(shared.threats, means, strict=True)
    ]


def joined(attacks: Sequence[str], parts: Sequence[Breakdown], most: int = FEW - 1) -> list[Together]:
    """A suite's attacks in order, each alone where they are few.

    Else the `most` that broke most images in `parts`, and last the others, together.
    """
    total = [sum(part.broken[i] for part in parts) for i in range(len(attacks))]
    strongest = sorted((i for i, images in enumerate(total) if images), key=lambda i: -total[i])[:most]
    others = [i for i in range(len(attacks)) if i not in strongest]
    if len(attacks) <= FEW or len(others) == 1:
        others = []
    alone = [Together(attacks[i], attacks[i], (i,)) for i in range(len(attacks)) if i not in others]
    if not others:
        return alone
    return [*alone, Together(f"{len(others)} others", ", ".join(attacks[i] for i in others), tuple(others))]


def _counts(verdicts: Judged, threat: int, attacks: int) -> list[int]:
    wrong = verdicts.broken_at < 0
    broken = ~wrong & (verdicts.broken_at <= threat)
    by = [int((broken & (verdicts.broken_by == attack)).sum()) for attack in range(attacks)]
    return [int(wrong.sum()), *by, int(verdicts.holds(threat).sum())]

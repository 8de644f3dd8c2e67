"""Which attack broke how many images of each network, and at which eps?"""

from dataclasses import dataclass

from spikeproof.reports.evidence import Verdicts
from spikeproof.reports.rankings import Contender


@dataclass(frozen=True)
class Breakdown:
    """Images of one network under one threat, a mean over its seeds; the parts add up to all images.

    `broken` counts for each attack of the suite the images credited to it, at this eps or a smaller one.
    """

    threat: str
    wrong: float
    broken: tuple[float, ...]
    holds: float


def breakdowns(contender: Contender) -> list[Breakdown]:
    """One for each threat, smallest eps first; empty for a network that is not ranked."""
    protocol = contender.seeds[0].protocol
    if protocol is None or not contender.row.rank:
        return []
    counts = [
        [_counts(verdicts, index, len(protocol.attacks)) for verdicts in contender.verdicts]
        for index in range(len(protocol.threats))
    ]
    means = [[sum(part) / len(part) for part in zip(*seeds, strict=True)] for seeds in counts]
    return [
        Breakdown(threat.label, wrong, tuple(broken), holds)
        for threat, (wrong, *broken, holds) in zip(protocol.threats, means, strict=True)
    ]


def _counts(verdicts: Verdicts, threat: int, attacks: int) -> list[int]:
    wrong = verdicts.broken_at < 0
    broken = ~wrong & (verdicts.broken_at <= threat)
    by = [int((broken & (verdicts.broken_by == attack)).sum()) for attack in range(attacks)]
    return [int(wrong.sum()), *by, int(verdicts.holds(threat).sum())]

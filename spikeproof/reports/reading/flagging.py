"""Which red flags does the evaluation of a network raise, over its seeds, and how is that told?"""

from dataclasses import dataclass
from typing import Any

from spikeproof.reports.reading.contenders import Contender
from spikeproof.reports.wording import Noun, counted, grouped, listed
from spikeproof.runs.records import FlagRecord

FLAGS = 35  # that an evaluation knows; reports know no evaluation, so a test holds the two equal
TOLD = 3  # flags that fit into a cell or a sentence


@dataclass(frozen=True, eq=False)
class Check:
    """One flag in all seeds whose evaluation looked for it; it is raised where it is raised for one of them."""

    by_seed: dict[int, FlagRecord]

    @property
    def worst_seed(self) -> int:
        """The seed that looks worst."""

        def badness(seed: int) -> tuple[bool, bool, float]:
            flag = self.by_seed[seed]
            return flag.raised, flag.number is None, flag.number or 0.0

        return max(self.by_seed, key=badness)

    @property
    def worst(self) -> FlagRecord:
        return self.by_seed[self.worst_seed]


@dataclass(frozen=True, eq=False)
class Flagged:
    """All that was checked of one network; `unchecked` are the seeds whose evaluation looked for no flag."""

    checks: list[Check]
    seeds: tuple[int, ...]
    unchecked: tuple[int, ...]
    what: Noun

    @property
    def raised(self) -> list[Check]:
        """Those that spoil the number first."""
        return sorted((c for c in self.checks if c.worst.raised), key=lambda check: not check.worst.spoils)

    @property
    def warnings(self) -> list[Check]:
        return [check for check in self.raised if not check.worst.spoils]

    def spelled(self, check: Check) -> str:
        """``one step beats many (0.05, at most 0.03 is normal)``, with the seed where there are several."""
        seed = f", seed {check.worst_seed}" if len(self.seeds) > 1 else ""
        return f"{check.worst.name} ({figure(check.worst.number)}, at most {check.worst.threshold:.3g} is normal{seed})"

    def told(self) -> str:
        """How many flags are raised of how many."""
        if not self.checks:
            return "not looked for"
        number = grouped(len(self.raised)) if self.raised else "none"
        missing = [str(seed) for seed in self.unchecked]
        seeds = f"; not looked for in seed{'s' if len(missing) > 1 else ''} {listed(missing)}" if missing else ""
        return f"{number} raised of {len(self.checks)}{seeds}"


def flagged(contender: Contender) -> Flagged:
    """The flags of a network by key, in the order in which they were looked for."""
    by_key: dict[str, dict[int, FlagRecord]] = {}
    known = {one.seed: one.verdicts.record.flags if one.verdicts else () for one in contender.seeds}
    for seed, flags in known.items():
        for flag in flags:
            by_key.setdefault(flag.key, {})[seed] = flag
    unchecked = tuple(seed for seed, flags in known.items() if not flags)
    return Flagged([Check(by_seed) for by_seed in by_key.values()], tuple(known), unchecked, contender.what)


def because(contender: Contender) -> str:
    """Why there is no robust accuracy, short enough for a cell: of `unreliable` networks the flags that spoil it."""
    found = flagged(contender)
    spoiling = [found.spelled(check) for check in found.raised if check.worst.spoils]
    if contender.row.status != "unreliable" or not spoiling:
        return contender.row.reason
    more = len(spoiling) - TOLD
    return f"Its number cannot be trusted: {'; '.join(spoiling[:TOLD])}{f'; and {more} more' if more > 0 else ''}."


def cautions(found: Flagged) -> str:
    """The warnings beside a number that stands, counted; empty without any."""
    return counted(len(found.warnings), "warning") if found.warnings else ""


def figure(value: Any) -> str:
    """A number or a word of a flag's details, or several; None is not a number."""
    if isinstance(value, list):
        return ", ".join(map(figure, value))
    if value is None:
        return "nan"
    if isinstance(value, str):
        return value
    return grouped(value) if isinstance(value, int) else f"{value:.3g}".replace("-", "\N{MINUS SIGN}", 1)

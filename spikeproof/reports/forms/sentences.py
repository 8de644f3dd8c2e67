"""What was compared, and what may a careful reader conclude from it?"""

from dataclasses import dataclass

from spikeproof.reports.reading.contenders import Comparison, Contender, Standings
from spikeproof.reports.reading.flagging import FLAGS, cautions, flagged
from spikeproof.reports.reading.intervals import Paired, paired
from spikeproof.reports.wording import NARROW, counted, grouped, listed, percent, with_interval

FOR_DEVELOPMENT = {"quick": "standard", "habit": "standard", "events": "events_standard"}  # and what makes a claim
LEVEL = 0.05  # of a paired test


@dataclass(frozen=True)
class Conclusion:
    """The result of one comparison: `lede` is one sentence, `remarks` say how far it carries.

    `caution` is what stands above all, where the suite makes no claim.
    """

    lede: str
    remarks: list[str]
    caution: str = ""


def conclude(standings: Standings) -> list[Conclusion]:
    """One conclusion for each protocol, or a single one that says that nothing was evaluated."""
    if not standings.comparisons:
        trained = counted(len(standings.waiting), "network")
        return [Conclusion(f"Nothing to compare yet: none of the {trained} has been evaluated.", [])]
    several = len(standings.comparisons) > 1
    conclusions = [_conclusion(comparison, several) for comparison in standings.comparisons]
    if standings.waiting:
        names = listed([contender.row.name for contender in standings.waiting])
        conclusions[-1].remarks.append(f"Not evaluated yet, and so not ranked: {names}.")
    return conclusions


def _conclusion(comparison: Comparison, several: bool) -> Conclusion:
    prefix = f"Protocol {comparison.letter}: " if several else ""
    apart = len(comparison.ranked) > 1 and comparison.ranked[1].row.rank != 1
    remarks = [_runner_up(comparison)] if apart else []
    remarks += [] if comparison.same_images else [_other_splits(comparison)]
    remarks += [told for contender in comparison.ranked if (told := _cautioned(contender))]
    remarks += [*_refused(comparison), _looked_for(comparison)]
    return Conclusion(prefix + _lede(comparison), remarks, _caution(comparison, prefix))


def _caution(comparison: Comparison, prefix: str) -> str:
    suite = comparison.conditions.suite.partition(",")[0]
    if suite not in FOR_DEVELOPMENT:
        return ""
    return f"{prefix}For development, not a claim: run --suite {FOR_DEVELOPMENT[suite]}."


def _looked_for(comparison: Comparison) -> str:
    """How many red flags were looked for; the smallest number of all networks."""
    found = min(len(flagged(contender).checks) for contender in comparison.contenders)
    return f"Of {FLAGS} red flags {found if found else 'none'} {'was' if found == 1 else 'were'} looked for."


def _other_splits(comparison: Comparison) -> str:
    return (
        f"Not all of these networks have the same seeds, and each seed has a test part of its own. So some were tested "
        f"on other {comparison.conditions.what.many}, and part of a difference may be that between test parts."
    )


def _cautioned(contender: Contender) -> str:
    """The warnings beside the number of a network that comes first."""
    found = flagged(contender)
    if contender.row.rank != 1 or not found.warnings:
        return ""
    told = "; ".join(found.spelled(check) for check in found.warnings)
    return f"The number of {contender.row.name}, which comes first, stands, but with {cautions(found)}: {told}."


def _refused(comparison: Comparison) -> list[str]:
    """Who could not be measured, and who was measured and cannot be believed."""
    unranked = [contender.row for contender in comparison.contenders if not contender.row.rank]
    unmeasured = [row.name for row in unranked if row.status != "unreliable"]
    unbelieved = [row.name for row in unranked if row.status == "unreliable"]
    remarks = []
    if unmeasured:
        remarks.append(
            f"{listed(unmeasured)} could not be measured and so {_given_none(unmeasured)}; the table says why."
        )
    if unbelieved:
        whose = "its number" if len(unbelieved) == 1 else "their numbers"
        told = f"{listed(unbelieved)} {_given_none(unbelieved)}, because {whose} cannot be trusted; red flags say why."
        remarks.append(told)
    return remarks


def _given_none(names: list[str]) -> str:
    return f"{'was' if len(names) == 1 else 'were'} given no robust accuracy"


def _lede(comparison: Comparison) -> str:
    shared = comparison.conditions
    where = f"{counted(shared.images, shared.what.one)} of {shared.data.partition('(')[0]} ({shared.part} part)"
    how = f"by the {shared.suite} suite of {counted(len(shared.attacks), 'attack')}"
    if not comparison.ranked:
        return f"None of the networks attacked on {where} {how} gave a robust accuracy that can be trusted."
    best, main = comparison.ranked[0], shared.threats[-1].label
    held = f"keeps {with_interval(best.worst)} of {where} right under {main}, attacked {how}"
    tied = [contender.row.name for contender in comparison.ranked if contender.row.rank == 1]
    if best.worst.low <= comparison.chance:
        guess = f"guessing keeps {percent(comparison.chance)}"
        return f"None holds: nobody is above chance. {listed(tied)}, which comes first, {held}; {guess}."
    if len(comparison.contenders) == 1:
        return f"The one network evaluated, {best.row.name}, {held}."
    if len(tied) > 1:
        return f"{listed(tied)} come first together: each {held}."
    if level := [c.row.name for c in comparison.ranked[1:] if _is_level(best, c, len(shared.threats) - 1)]:
        count = counted(len(comparison.contenders), "network")
        return f"Of {count}, {best.row.name} comes first, level with {listed(level)}: it {held}."
    return f"Of {counted(len(comparison.contenders), 'network')}, {best.row.name} holds best: it {held}."


def _is_level(best: Contender, other: Contender, threat: int) -> bool:
    """Whether the paired test, where it can be asked, does not tell the two apart."""
    if not _are_paired(best, other):
        return False
    return paired(best.verdicts[0].holds(threat), other.verdicts[0].holds(threat)).p >= LEVEL


def _are_paired(best: Contender, other: Contender) -> bool:
    """Single seeds that met the same images; others give no paired sample."""
    return len(best.seeds) == len(other.seeds) == 1 and best.verdicts[0].met == other.verdicts[0].met


def _runner_up(comparison: Comparison) -> str:
    best, second = comparison.ranked[:2]
    verdict = (
        "overlap, so they alone do not separate the two" if best.worst.overlaps(second.worst) else "do not overlap"
    )
    told = f"The runner-up, {second.row.name}, keeps {with_interval(second.worst)}; the two intervals {verdict}."
    return told + _paired(best, second, len(comparison.conditions.threats) - 1)


def _paired(best: Contender, second: Contender, threat: int) -> str:
    """The sharper question, where it can be asked."""
    if not _are_paired(best, second):
        return ""
    one = best.what.one
    test: Paired = paired(best.verdicts[0].holds(threat), second.verdicts[0].holds(threat))
    p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.2g}"
    return (
        f" {one.capitalize()} by {one}, which is sharper, {grouped(test.only_first)} are held by the first alone and "
        f"{grouped(test.only_second)} by the second alone: {'a' if test.p < LEVEL else 'no'} difference at the "
        f"5{NARROW}% level (exact McNemar test, {p})."
    )

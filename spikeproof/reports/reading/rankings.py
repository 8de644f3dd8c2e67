"""Which networks may be compared with which, and who holds best among them?"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import replace

from spikeproof.choices import UserError
from spikeproof.reports.reading.conditions import Conditions
from spikeproof.reports.reading.contenders import NOT_EVALUATED, Comparison, Contender, Row, Standings
from spikeproof.reports.reading.evidence import Evidence, read_evidence
from spikeproof.reports.reading.intervals import over_seeds
from spikeproof.reports.reading.objectives import learned_by
from spikeproof.reports.wording import spelled
from spikeproof.runs import Run
from spikeproof.runs.protocol_names import name_of
from spikeproof.runs.records import VerdictsRecord
from spikeproof.untrusted.words import told


def ranking(runs: Sequence[Run], verdicts: str = "") -> list[Row]:
    """The rows of the table, best first within each protocol; raises `UserError` for a damaged run folder.

    `verdicts` chooses evaluations, by the beginning of their protocol's name.
    """
    return [contender.row for contender in standings(runs, verdicts).contenders]


def standings(runs: Sequence[Run], verdicts: str = "") -> Standings:
    """Seeds of one network joined, networks of one protocol compared, protocols kept apart."""
    distinct = {run.path.resolve(): run for run in runs}
    _refuse_unknown(list(distinct.values()), verdicts)
    contenders = _named(_repetitions([one for run in distinct.values() for one in read_evidence(run, verdicts)]))
    by_conditions: dict[Conditions, list[Contender]] = {}
    for contender in contenders:
        if shared := contender.seeds[0].conditions:
            by_conditions.setdefault(shared, []).append(contender)
    largest_first = sorted(by_conditions.items(), key=lambda item: -len(item[1]))
    comparisons = [
        Comparison(_letter(index), shared, _ordered(members, _letter(index)))
        for index, (shared, members) in enumerate(largest_first)
    ]
    return Standings(comparisons, [c for c in contenders if not c.seeds[0].conditions])


def _refuse_unknown(runs: list[Run], verdicts: str) -> None:
    """Raise `UserError` where no run has an evaluation of that name, and tell those that there are."""
    if not verdicts:
        return
    names = sorted({name_of(folder.read(VerdictsRecord)) for run in runs for folder in run.evaluations})
    if not any(name.startswith(verdicts) for name in names):
        there = f"there are {', '.join(names)}" if names else "no run was evaluated"
        raise UserError(f"no evaluation has a name that begins with {told(verdicts)}; {there}")


def _repetitions(evidence: list[Evidence]) -> list[tuple[Evidence, ...]]:
    """Runs that differ in nothing but their seed belong together; a seed met twice is not a repetition."""
    groups: dict[tuple[str, str, Conditions | None], list[Evidence]] = {}
    for one in evidence:
        groups.setdefault((one.name, one.choices, one.conditions), []).append(one)
    joined: list[tuple[Evidence, ...]] = []
    for group in groups.values():
        once = len({one.seed for one in group}) == len(group)
        joined += [tuple(sorted(group, key=lambda one: one.seed))] if once else [(one,) for one in group]
    return joined


def _named(groups: list[tuple[Evidence, ...]]) -> list[Contender]:
    """Rows without rank; a name that several rows share is followed by folder or protocol, and that by a number."""
    names = [group[0].name for group in groups]
    taken: dict[str, int] = {}
    contenders = []
    for group, name in zip(groups, names, strict=True):
        shown = name if names.count(name) == 1 else f"{name} [{_told_apart(group[0], groups)}]"
        taken[shown] = taken.get(shown, 0) + 1
        unique = shown if taken[shown] == 1 else f"{shown} #{taken[shown]}"
        contenders.append(Contender(_row(unique, group), group))
    return contenders


def _told_apart(one: Evidence, groups: list[tuple[Evidence, ...]]) -> str:
    """What tells a row from others of its name: the folder of its run, and the suite where it has several rows."""
    folders = [group[0].run.path for group in groups if group[0].name == one.name]
    suite = [one.conditions.suite] if one.conditions and folders.count(one.run.path) > 1 else []
    folder = [one.run.name] if len(set(folders)) > 1 or not suite else []
    return ", ".join(folder + suite)


def _row(name: str, group: tuple[Evidence, ...]) -> Row:
    verdicts = [one.verdicts for one in group if one.verdicts]
    status, reason = _trust(group)
    first = group[0].record
    objective = learned_by(first.config)
    images = verdicts[0].conditions.images if verdicts else 0
    shares = zip(*(v.robust for v in verdicts), strict=True) if status == "ok" else ()
    labels = [threat.label for threat in verdicts[0].conditions.threats] if status == "ok" else []
    return Row(
        rank=None,
        name=name,
        objective=spelled(objective, depth=1) if objective else "–",
        seeds=tuple(one.seed for one in group),
        status=status,
        reason=reason,
        protocol="",
        clean=over_seeds([v.clean for v in verdicts], images) if verdicts else None,
        robust={label: over_seeds(share, images) for label, share in zip(labels, shares, strict=True)},
        gradient_evaluations=_mean(v.record.gradient_evaluations_per_image for v in verdicts),
        training_seconds=_mean(one.record.training_seconds for one in group),
        parameters=first.parameters,
        nanojoules=_mean(one.energy.clean.nanojoules_spikewise if one.energy else None for one in group),
    )


def _trust(group: tuple[Evidence, ...]) -> tuple[str, str]:
    """One unreliable seed makes the row unreliable: leaving that seed out would flatter the network."""
    for one in group:
        if one.verdicts is None:
            unfinished = one.record.finished is None
            return NOT_EVALUATED, "Its training has not finished." if unfinished else ""
        if one.verdicts.record.status != "ok":
            where = f"Seed {one.seed}: " if len(group) > 1 else ""
            return one.verdicts.record.status, where + (one.verdicts.record.reason or "The evaluation gave no reason.")
    return "ok", ""


def _ordered(members: list[Contender], letter: str) -> list[Contender]:
    def place(contender: Contender) -> tuple[float, float, str]:
        row = contender.row
        robust = contender.worst.value if row.robust else -1.0
        return -robust, -row.clean.value if row.clean else 0.0, row.name

    ordered = sorted(members, key=place)
    scores = [contender.worst.value if contender.row.robust else None for contender in ordered]
    ranks = [None if score is None else 1 + scores.index(score) for score in scores]
    return [
        replace(contender, row=replace(contender.row, rank=rank, protocol=letter))
        for contender, rank in zip(ordered, ranks, strict=True)
    ]


def _letter(index: int) -> str:
    letters = string.ascii_uppercase
    return letters[index % 26] * (1 + index // 26)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

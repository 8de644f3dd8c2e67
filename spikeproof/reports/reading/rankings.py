"""Which networks may be compared with which, and who holds best among them?"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import replace

from spikeproof.reports.reading.conditions import Conditions
from spikeproof.reports.reading.contenders import NOT_EVALUATED, Comparison, Contender, Row, Standings
from spikeproof.reports.reading.evidence import Evidence, read_evidence
from spikeproof.reports.reading.intervals import over_seeds
from spikeproof.reports.reading.objectives import learned_by
from spikeproof.reports.wording import spelled
from spikeproof.runs import Run


def ranking(runs: Sequence[Run]) -> list[Row]:
    """The rows of the table, best first within each protocol; raises `UserError` for a damaged run folder."""
    return [contender.row for contender in standings(runs).contenders]


def standings(runs: Sequence[Run]) -> Standings:
    """Seeds of one network joined, networks of one protocol compared, protocols kept apart."""
    distinct = {run.path.resolve(): run for run in runs}
    contenders = _named(_repetitions([read_evidence(run) for run in distinct.values()]))
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
    """Rows without rank; a name that several rows share is followed by its folder, and that by a number."""
    names = [group[0].name for group in groups]
    taken: dict[str, int] = {}
    contenders = []
    for group, name in zip(groups, names, strict=True):
        shown = name if names.count(name) == 1 else f"{name} [{group[0].run.name}]"
        taken[shown] = taken.get(shown, 0) + 1
        unique = shown if taken[shown] == 1 else f"{shown} #{taken[shown]}"
        contenders.append(Contender(_row(unique, group), group))
    return contenders


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

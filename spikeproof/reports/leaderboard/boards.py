"""Which records are listed on which leaderboard, and which are refused, and why? One board a protocol."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from spikeproof.choices import Choice, UserError
from spikeproof.configs import differing
from spikeproof.reports.leaderboard.entries import Entry, entry_of
from spikeproof.reports.leaderboard.rows import SUITE, THREATS, Facets, entry_in, rows_in
from spikeproof.reports.leaderboard.submissions import Submission, submission_of
from spikeproof.reports.reading.evidence import read_evidence
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run
from spikeproof.runs.ties import WEIGHTS

STRONG = ("standard", "exhaustive", "events_standard")  # of our suites, those for a claim
BESIDE = (Submission.FILE, "index.json", "entries.json", "package.json")  # JSON files that are no records


@dataclass(frozen=True)
class Refused:
    """A record that is not listed: which, and in one line why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Board:
    """The networks that were evaluated under one protocol, the best first; the unreliable ones last."""

    facets: Facets
    entries: tuple[Entry, ...]

    @property
    def labels(self) -> list[str]:
        """Of the threats, from the smallest on; all in one where no network has a number."""
        return next((list(entry.robust) for entry in self.entries if entry.robust), [self.facets[THREATS]])

    @property
    def is_strong(self) -> bool:
        """Whether the suite is one for a claim, by its name."""
        return self.facets[SUITE] in STRONG

    @property
    def name(self) -> str:
        """Of its page: data, suite, the last threat, and the beginning of the protocol's digest."""
        words = (self.entries[0].dataset, self.facets[SUITE], self.labels[-1])
        plain = re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")
        return f"{plain}-{_key(self.facets)[:8]}"

    @property
    def ranks(self) -> list[int | None]:
        scores = [entry.worst for entry in self.entries]
        return [1 + scores.index(score) if score >= 0 else None for score in scores]


def boards_of(paths: Sequence[Path], protocol: Choice | None = None) -> tuple[list[Board], list[Refused]]:
    """The boards of all records in these files and folders, and the records that are refused.

    With a `protocol` only evaluations that were done by it are listed. Raises `UserError` for a path that is not there.
    """
    found, refused = [], []
    runs, files = _records(paths)
    for run in runs:
        try:
            _refuse_unfit(run, protocol)
            found.append(run)
        except UserError as error:
            refused.append(Refused(run.path.as_posix(), _in_a_line(error)))
    listed = [
        (comparison.conditions.facets(), entry_of(contender))
        for together in _of_one_sender(found)
        for comparison in standings(together).comparisons
        for contender in comparison.contenders
        if protocol is None or not differing(contender.verdicts[0].record.protocol, protocol)
    ]
    for file in files:
        rows, unfit = _from_report(file, protocol)
        listed += rows
        refused += unfit
    once, twice = _each_once(listed)
    return _boards(once), refused + twice


def _records(paths: Sequence[Path]) -> tuple[list[Run], list[Path]]:
    """The run folders, but those inside another one, and the files of JSON outside them, in order."""
    runs: dict[Path, None] = {}
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no file or folder {path}")
        if path.is_file():
            files[path] = None
            continue
        inside = sorted(file.parent for file in path.rglob("run.json"))
        own = [folder for folder in inside if not any(other in folder.parents for other in inside)]
        runs |= dict.fromkeys(own)
        loose = [file for file in sorted(path.rglob("*.json")) if not any(run in file.parents for run in own)]
        files |= dict.fromkeys(file for file in loose if file.name not in BESIDE)
    return [Run(folder) for folder in runs], list(files)


def _of_one_sender(runs: list[Run]) -> list[list[Run]]:
    """The runs that lie side by side under one submission: only these may be seeds of one network."""
    together: dict[tuple[Path, Submission], list[Run]] = {}
    for run in runs:
        together.setdefault((run.path.parent, submission_of(run)), []).append(run)
    return list(together.values())


def _refuse_unfit(run: Run, protocol: Choice | None) -> None:
    """Raise `UserError` for a run that cannot be listed."""
    evidence = read_evidence(run)
    submission_of(run)
    if WEIGHTS in run:
        run.read_tensors(WEIGHTS)  # they are those that they state to be
    judged = [one.verdicts.record for one in evidence if one.verdicts]
    if not judged:
        raise UserError("it was not evaluated")
    if protocol is not None:
        others = [differing(record.protocol, protocol) for record in judged]
        if all(others):
            what = "its protocol is not written down" if others[0] == ["all"] else f"other {', '.join(others[0][:5])}"
            raise UserError(f"it was evaluated by another protocol: {what}")


def _from_report(file: Path, protocol: Choice | None) -> tuple[list[tuple[Facets, Entry]], list[Refused]]:
    found, refused = [], []
    try:
        rows = rows_in(file)
    except UserError as error:
        return [], [Refused(file.as_posix(), _in_a_line(error))]
    for where, row in rows:
        try:
            if protocol is not None:
                raise UserError("a report in JSON does not say its whole protocol: send the run folder")
            found.append(entry_in(where, row))
        except UserError as error:
            refused.append(Refused(where, _in_a_line(error).removeprefix(f"{where}: ")))
    return found, refused


def _each_once(listed: list[tuple[Facets, Entry]]) -> tuple[list[tuple[Facets, Entry]], list[Refused]]:
    """The same weights stand on a board once."""
    kept, refused = [], []
    seen: dict[tuple[str, tuple[str, ...]], str] = {}
    for facets, entry in listed:
        key = _key(facets), entry.sha256
        if entry.sha256 and key in seen:
            refused.append(Refused(entry.source, f"it has the same weights as {seen[key]}, under the same protocol"))
            continue
        seen[key] = entry.source
        kept.append((facets, entry))
    return kept, refused


def _boards(listed: list[tuple[Facets, Entry]]) -> list[Board]:
    by_protocol: dict[str, list[tuple[Facets, Entry]]] = {}
    for facets, entry in listed:
        by_protocol.setdefault(_key(facets), []).append((facets, entry))
    boards = [Board(those[0][0], tuple(sorted(_entries(those), key=_place))) for those in by_protocol.values()]
    return sorted(boards, key=lambda board: board.name)


def _entries(those: list[tuple[Facets, Entry]]) -> Iterator[Entry]:
    return (entry for _, entry in those)


def _place(entry: Entry) -> tuple[float, float, str]:
    return -entry.worst, -entry.clean.value, entry.name


def _key(facets: Facets) -> str:
    return sha256(json.dumps(facets, sort_keys=True).encode()).hexdigest()


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())

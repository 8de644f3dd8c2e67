"""How is the JSON of a report read, which others may have written? Row by row, each checked against its protocol."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spikeproof.choices import UserError
from spikeproof.reports.leaderboard.entries import Entry, data_named, network_facts
from spikeproof.reports.leaderboard.submissions import Submission
from spikeproof.reports.reading.consumed import operations
from spikeproof.reports.reading.intervals import Estimate
from spikeproof.runs.folder import Folder
from spikeproof.runs.json_forms import from_json
from spikeproof.runs.records import EnergyRecord
from spikeproof.untrusted.words import told

Facets = dict[str, str]  # of a protocol: what two evaluations share
SUITE, THREATS, DATA, PASSES = (
    "suite",
    "threats",
    "data set",
    "passes that a stochastic network is averaged over",
)


@dataclass(frozen=True, kw_only=True)
class _Share:
    value: float
    low: float
    high: float
    spread: Any = None


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The keys of a row that a leaderboard needs; others are passed over."""

    name: str
    status: str
    reason: str
    seeds: tuple[int, ...]
    clean: _Share | None
    robust: dict[str, _Share]
    gradient_evaluations: float | None
    parameters: int | None
    protocol_facets: dict[str, str] | None
    environments: Any = None
    data: Any = None
    network: Any = None
    energy_by_seed: tuple[EnergyRecord | None, ...] = ()
    sha256_by_seed: tuple[str, ...] = ()
    flags_by_seed: Any = field(default_factory=list)


def rows_in(path: Path) -> list[tuple[str, Any]]:
    """The rows of a report in JSON, each with where it stands; raises `UserError` for a file that is none."""
    content = Folder(path.parent).read_json(path.name)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{path} is no report in JSON, a list of rows: spikeproof report RUNS --out {path.name}")
    return [(f"{path}, row {number} ({told(row.get('name'))})", row) for number, row in enumerate(content, 1)]


def entry_in(where: str, row: dict[str, Any]) -> tuple[Facets, Entry]:
    """The protocol of a row and its line; raises `UserError` for a row that does not fit its schema or protocol."""
    known = {name: value for name, value in row.items() if name in _Row.__dataclass_fields__}
    try:
        found = from_json(known, _Row)
        facets = _facets(found)
        clean, robust = _estimate("clean", found.clean), _robust(found, facets)
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: {error}") from error
    return facets, Entry(
        said=Submission(),
        name=found.name,
        source=where,
        dataset=data_named(facets[DATA]),
        suite=facets[SUITE],
        eps=list(robust)[-1] if robust else facets[THREATS],
        clean=clean,
        robust=robust,
        status=found.status,
        reason=found.reason,
        certified={},
        passes=None,
        gradients=found.gradient_evaluations,
        operations=operations([record for record in found.energy_by_seed if record]),
        parameters=found.parameters,
        flags=_raised(found.flags_by_seed),
        seeds=len(found.seeds),
        version=_version(found.environments),
        sha256=found.sha256_by_seed,
        **network_facts(found.network, found.data),
    )


def _facets(row: _Row) -> Facets:
    if row.clean is None or not row.protocol_facets:
        raise ValueError("it was not evaluated")
    for name in (SUITE, THREATS, DATA):
        if not row.protocol_facets.get(name):
            raise ValueError(f"protocol_facets lacks {name}")
    return row.protocol_facets


def _robust(row: _Row, facets: Facets) -> dict[str, Estimate]:
    """Those of the protocol's threats, from the smallest on: none above that before it, and none above clean."""
    labels = ", ".join(row.robust)
    if row.status != "ok":
        if row.robust:
            raise ValueError(f"its status is {told(row.status)}, and it has robust accuracies all the same")
        return {}
    if labels != facets[THREATS]:
        raise ValueError(f"its robust accuracies are of {labels or 'no threat'}, its protocol's of {facets[THREATS]}")
    found = {label: _estimate(label, share) for label, share in row.robust.items()}
    assert row.clean
    most = row.clean.value
    for label, share in found.items():
        if share.value > most + 1e-9:
            raise ValueError(f"{label} leaves {share.value:.4f}, and more than the {most:.4f} before it")
        most = share.value
    return found


def _estimate(name: str, share: _Share | None) -> Estimate:
    assert share
    if not 0 <= share.low <= share.value <= share.high <= 1:
        raise ValueError(f"{name} is {share.value} in [{share.low}, {share.high}], and no share with its interval")
    return Estimate(share.value, share.low, share.high)


def _raised(by_seed: Any) -> tuple[str, ...]:
    flags = [flag for seed in by_seed or [] for flag in seed]
    return tuple(dict.fromkeys(str(flag["name"]) for flag in flags if flag.get("raised")))


def _version(environments: Any) -> str:
    known = (environments or [{}])[0].get("evaluation") or {}
    return str((known.get("versions") or {}).get("spikeproof", "unknown"))

"""What is a line of a leaderboard? RobustBench's keys, and what tells spiking networks apart."""

import re
from dataclasses import dataclass
from typing import Any

from spikeproof.reports.leaderboard.submissions import Submission, submission_of
from spikeproof.reports.reading.consumed import consumed, operations
from spikeproof.reports.reading.contenders import Contender
from spikeproof.reports.reading.flagging import because, flagged
from spikeproof.reports.reading.intervals import Estimate
from spikeproof.reports.reading.proved import proved
from spikeproof.reports.wording import spelled


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network under one protocol; accuracies are shares with their 95 % intervals, `robust` by the threat's label.

    `certified` are the shares of right images that are certified at a threat, by its label. `passes` are averaged for
    one answer, `gradients` are those that an image cost. `operations` are the MACs and ACs of a pass where they were
    counted, pooled spikes apart; a mean over the seeds. `sha256` are the digests of the weights, one a seed; there are
    none in results that were written before these were kept. `robust` is empty unless `status` is "ok".
    """

    said: Submission
    name: str
    source: str
    dataset: str
    suite: str
    eps: str
    clean: Estimate
    robust: dict[str, Estimate]
    status: str
    reason: str
    certified: dict[str, float]
    architecture: str
    neuron: str
    coding: str
    steps: int | None
    passes: int | None
    gradients: float | None
    operations: float | None
    parameters: int | None
    flags: tuple[str, ...]
    seeds: int
    version: str
    sha256: tuple[str, ...]

    @property
    def worst(self) -> float:
        """The robust accuracy at the largest threat; below every other where there is none."""
        return list(self.robust.values())[-1].value if self.robust else -1.0


def entry_of(contender: Contender) -> Entry:
    """The line of a network whose run folders were read."""
    one, row, record = contender.seeds[0], contender.row, contender.verdicts[0].record
    said, shown = submission_of(one.run), contender.verdicts[0].conditions
    certified = {
        threat.label: found.certified(threat.eps)
        for found in proved(contender)[:1]
        if found.judged
        for threat in shown.threats
    }
    return Entry(
        said=said,
        name=said.name or one.name,
        source=one.run.path.as_posix(),
        dataset=data_named(shown.data),
        suite=shown.suite,
        eps=shown.threats[-1].label,
        clean=row.clean or Estimate(0.0, 0.0, 1.0),
        robust=row.robust,
        status=row.status,
        reason=because(contender) if row.status != "ok" else "",
        certified=certified,
        passes=record.draws,
        gradients=row.gradient_evaluations,
        operations=operations(consumed(contender)),
        parameters=row.parameters,
        flags=tuple(check.worst.name for check in flagged(contender).raised),
        seeds=len(contender.seeds),
        version=str(record.environment.versions.get("spikeproof", "unknown")),
        sha256=tuple(judged.record.network_sha256 for judged in contender.verdicts if judged.record.network_sha256),
        **network_facts(one.record.config.get("network"), one.record.config.get("data")),
    )


def data_named(said: str) -> str:
    """The name of a data set that is written as its constructor call; of a folder the name of the folder."""
    kind, _, fields = said.partition("(")
    folder = re.match(r"folder=([^,)]+)", fields)
    return folder[1] if folder and kind in ("EventFolder", "ImageFolder") else kind


def network_facts(network: Any, data: Any) -> dict[str, Any]:
    """Of a written network its architecture, neuron, coding and time steps; "" and None where it says nothing.

    A network of recordings has a step for each frame, and the written `data` say how many these are.
    """
    fields = _fields(network)

    def named(field: str) -> str:
        return spelled(fields[field], depth=1).partition("(")[0] if fields.get(field) else ""

    return {
        "architecture": named("architecture"),
        "neuron": named("neuron"),
        "coding": named("encoder"),
        "steps": fields.get("steps") or _fields(_fields(data).get("framing")).get("steps"),
    }


def _fields(written: Any) -> dict[str, Any]:
    fields = written.get("init_args") if isinstance(written, dict) else None
    return fields if isinstance(fields, dict) else {}


def as_listed(entry: Entry) -> dict[str, Any]:
    """The entry under the keys of RobustBench, as texts in % where it has texts, and ours after them."""
    robust = {label: share.value for label, share in entry.robust.items()}
    return {
        "link": entry.said.link,
        "name": entry.name,
        "authors": entry.said.authors,
        "additional_data": entry.said.additional_data,
        "number_forward_passes": entry.passes,
        "dataset": entry.dataset,
        "venue": entry.said.venue,
        "architecture": entry.architecture,
        "eps": entry.eps,
        "clean_acc": f"{100 * entry.clean.value:.2f}",
        "reported": entry.said.reported,
        "footnote": entry.said.footnote,
        "unreliable": entry.status != "ok",
        "robust_acc": {label: f"{100 * share:.2f}" for label, share in robust.items()},
        "certified_acc": {label: f"{100 * share:.2f}" for label, share in entry.certified.items()},
        "suite": entry.suite,
        "version": entry.version,
        "T": entry.steps,
        "neuron": entry.neuron,
        "coding": entry.coding,
        "gradients": entry.gradients,
        "operations": entry.operations,
        "parameters": entry.parameters,
        "flags": list(entry.flags),
        "seeds": entry.seeds,
        "sha256": list(entry.sha256),
        "status": entry.status,
        "reason": entry.reason,
    }

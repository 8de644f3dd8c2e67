"""What does one run folder say about its network?"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeproof.choices import UserError
from spikeproof.reports.reading.conditions import Conditions, as_tested, conditions, images_met, without
from spikeproof.reports.reading.intervals import Estimate
from spikeproof.reports.wording import Noun, counted, noun, spelled
from spikeproof.runs import Run
from spikeproof.runs.certificate_files import read_certificates
from spikeproof.runs.folder import Folder
from spikeproof.runs.intervals import Interval
from spikeproof.runs.protocol_names import name_of
from spikeproof.runs.records import (
    BuiltRecord,
    CertificatesRecord,
    EnergyRecord,
    Epoch,
    ProbesRecord,
    RunRecord,
    VerdictsRecord,
)
from spikeproof.runs.ties import WEIGHTS, are_of_others, refuse_untied
from spikeproof.runs.verdict_files import read_verdicts
from spikeproof.untrusted.words import printable


@dataclass(frozen=True, eq=False)
class Judged:
    """How one network stood; `broken_at` and `broken_by` [N], beside each `label`, index threats and attacks
    of `conditions`.

    `label`, `clean_prediction` and `broken_as` [N] are classes.

    Networks whose `met` is equal met the same images, one by one; seeds that have a split each do not. `robust` is
    empty where the verdict is not "ok".
    """

    record: VerdictsRecord
    conditions: Conditions
    met: str
    clean: Estimate
    robust: tuple[Estimate, ...]
    label: np.ndarray
    broken_at: np.ndarray
    broken_by: np.ndarray
    clean_prediction: np.ndarray
    broken_as: np.ndarray | None = None

    def holds(self, threat: int) -> np.ndarray:
        """Which images [N] are right without attack and under every attack up to threat number `threat`."""
        return self.broken_at > threat


@dataclass(frozen=True, eq=False)
class Certified:
    """The certificates of one network: their summary, and arrays [N] by name."""

    record: CertificatesRecord
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One trained network: its record, its epochs, and what was found by evaluating, probing and certifying it.

    `evaluation` is the folder of the verdicts. A network that was evaluated several times has as many of these.
    """

    run: Run
    record: RunRecord
    epochs: tuple[Epoch, ...]
    verdicts: Judged | None
    probes: ProbesRecord | None = None
    energy: EnergyRecord | None = None
    certificates: Certified | None = None
    recordings: bool = False
    evaluation: Folder | None = None

    @property
    def name(self) -> str:
        return printable(self.record.name or self.run.name, lines=True)

    @property
    def seed(self) -> int:
        return self.record.seed

    @property
    def choices(self) -> str:
        """The configuration without its seed, and its ANN's: equal for runs that repeat each other."""
        return json.dumps(_seedless(self.record.config), sort_keys=True)

    @property
    def conditions(self) -> Conditions | None:
        return self.verdicts.conditions if self.verdicts else None

    @property
    def what(self) -> Noun:
        return noun([self.recordings])

    @property
    def probed_in(self) -> str:
        """What the networks of one table of probes must share: attack, threat and images."""
        assert self.probes
        found = self.probes
        resplit = found.resplit or bool(self.conditions and self.conditions.resplit)
        attack, threat = spelled(found.attack.config), spelled(found.threat.config)
        where = f"the first {counted(found.images, self.what.one)} of {spelled(as_tested(found.data, resplit))}"
        return f"{attack} within {threat}, on {where}, {found.part} part"


def read_evidence(run: Run, verdicts: str = "") -> list[Evidence]:
    """Everything a ranking needs of `run`, once for each evaluation whose protocol's name begins with `verdicts`.

    Where there is none, once without one. Raises `UserError` that names the missing or damaged file.
    """
    record, recordings = run.record, run.holds_recordings
    if WEIGHTS in run and BuiltRecord.FILE in run:
        refuse_untied(run)
    with run.understood("run.json"):
        _ = record.config.get("data"), _seedless(record.config)
    epochs = run.epochs if "metrics.jsonl" in run else ()
    probes = _read_probes(run) if ProbesRecord.FILE in run else None
    energy = run.read(EnergyRecord) if EnergyRecord.FILE in run else None
    certificates = _read_certificates(run) if CertificatesRecord.FILE in run else None
    found = _evaluations(run, verdicts)
    if not found:
        return [Evidence(run, record, epochs, None, probes, energy, certificates, recordings)]
    framed = recordings or any(judged.conditions.recordings for _, judged in found)
    return [
        Evidence(run, record, epochs, judged, probes, energy, certificates, framed, folder) for folder, judged in found
    ]


def _evaluations(run: Run, verdicts: str) -> list[tuple[Folder, Judged]]:
    """Those of the weights that are in the folder; refused where there are only others."""
    found = [(folder, _read_verdicts(folder)) for folder in run.evaluations]
    chosen = [(folder, judged) for folder, judged in found if name_of(judged.record).startswith(verdicts)]
    own = [(folder, judged) for folder, judged in chosen if not are_of_others(run, judged.record)]
    if chosen and not own:
        file = chosen[0][0].path / VerdictsRecord.FILE
        raise UserError(f"{file} is of other weights than {WEIGHTS} of that run: evaluate the run again")
    return own


def recipe_fields(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that is written as a choice, such as that of an ANN inside another recipe."""
    return config["init_args"] if "class_path" in config else config


def _seedless(config: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in recipe_fields(config).items() if name != "seed"}
    if isinstance(data := kept.get("data"), dict):  # whose split a seed may have drawn
        kept["data"] = without(data, "split_seed")
    return kept | ({"ann": _seedless(kept["ann"])} if kept.get("ann") else {})


def _read_verdicts(folder: Folder) -> Judged:
    record, arrays = read_verdicts(folder)
    robust = [threat.robust_accuracy for threat in record.threats] if record.status == "ok" else []
    with folder.understood(VerdictsRecord.FILE):
        return Judged(
            record,
            conditions(record, arrays["label"]),
            images_met(record, arrays["label"]),
            _estimate(record.clean_accuracy),
            tuple(_estimate(interval) for interval in robust if interval is not None),
            arrays["label"],
            arrays["broken_at"],
            arrays["broken_by"],
            arrays["clean_prediction"],
            arrays.get("broken_as"),
        )


def _read_certificates(run: Run) -> Certified:
    record, arrays = read_certificates(run)
    if are_of_others(run, record):
        raise UserError(f"{run.path / record.FILE} is of other weights than {WEIGHTS} beside it: certify the run again")
    return Certified(record, arrays)


def _read_probes(run: Run) -> ProbesRecord:
    record = run.read(ProbesRecord)
    with run.understood(ProbesRecord.FILE):
        for layer, course in record.potential_perturbation.items():
            if not course.adversarial or len(course.adversarial) != len(course.random):
                raise ValueError(f"layer {layer} has {len(course.adversarial)} and {len(course.random)} time steps")
    return record


def _estimate(interval: Interval) -> Estimate:
    return Estimate(*interval)

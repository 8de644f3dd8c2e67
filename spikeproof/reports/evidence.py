"""What does one run folder say about its network?"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeproof.reports.intervals import Estimate
from spikeproof.reports.wording import spelled
from spikeproof.runs import Run
from spikeproof.specs import UserError

# Arguments of a data set that change what a network learns from, not the images it is tested on. Should they move
# the test images after all, the fingerprint of the labels shows it.
FOR_TRAINING = ("augmentation", "train_images", "validation_images")


@dataclass(frozen=True)
class Threat:
    """A perturbation set as the evaluation wrote it down; `eps` in the units of `norm`, pixels in [0, 1]."""

    label: str
    norm: str
    eps: float


@dataclass(frozen=True)
class Protocol:
    """Everything two evaluations must share before their accuracies may stand in one ranking."""

    data: str
    part: str
    images: int
    labels: str
    suite: str
    attacks: tuple[str, ...]
    settings: str
    threats: tuple[Threat, ...]

    def facets(self) -> dict[str, str]:
        """What a reader is told when two protocols differ."""
        return {
            "data set": self.data,
            "part": self.part,
            "number of images": str(self.images),
            "choice of images (fingerprint of their labels)": self.labels,
            "suite": self.suite,
            "attacks": ", ".join(self.attacks),
            "attack settings (fingerprint)": self.settings,
            "threats": ", ".join(threat.label for threat in self.threats),
        }


@dataclass(frozen=True, eq=False)
class Verdicts:
    """How one network stood; `broken_at` and `broken_by` [N] index the threats and attacks of `protocol`."""

    protocol: Protocol
    status: str
    reason: str
    clean: Estimate
    robust: tuple[Estimate, ...]
    broken_at: np.ndarray
    broken_by: np.ndarray
    record: dict[str, Any]

    def holds(self, threat: int) -> np.ndarray:
        """Which images [N] are right without attack and under every attack up to threat number `threat`."""
        return self.broken_at > threat


@dataclass(frozen=True, eq=False)
class Evidence:
    """One trained network: its record, its epochs and, if it was evaluated, its verdicts."""

    run: Run
    record: dict[str, Any]
    epochs: list[dict[str, Any]]
    verdicts: Verdicts | None

    @property
    def name(self) -> str:
        return str(self.record.get("name") or self.run.name)

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def choices(self) -> str:
        """The configuration without its seed: equal for runs that repeat each other."""
        kept = {k: v for k, v in self.record["config"].items() if k != "seed"}
        return json.dumps(kept, sort_keys=True)

    @property
    def protocol(self) -> Protocol | None:
        return self.verdicts.protocol if self.verdicts else None


def read_evidence(run: Run) -> Evidence:
    """Everything a ranking needs of `run`; raises `UserError` that names the missing or damaged file."""
    with understood(run, "run.json"):
        record = run.record
        _ = record["config"].items(), int(record["seed"])
    epochs = run.read_lines("metrics.jsonl") if "metrics.jsonl" in run else []
    with understood(run, "metrics.jsonl"):
        epochs = [{**row, "epoch": int(row["epoch"])} for row in epochs]
    return Evidence(run, record, epochs, _read_verdicts(run) if "verdicts.json" in run else None)


@contextmanager
def understood(run: Run, file: str) -> Iterator[None]:
    """Turns what reading an unexpected content raises into a `UserError` that names `file`."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"{run.path / file} is not as spikeproof writes it ({type(error).__name__}: {error}); "
            "delete the file and run the command that made it again"
        ) from error


def _read_verdicts(run: Run) -> Verdicts:
    record, arrays = run.read_json("verdicts.json"), run.read_arrays("verdicts.npz")
    with understood(run, "verdicts.json"):
        protocol = _protocol(record, arrays["label"])
        sizes = {len(arrays[name]) for name in ("label", "broken_at", "broken_by")}
        if sizes != {protocol.images}:
            raise ValueError(f"{protocol.images} images, but verdicts.npz holds {sorted(sizes)}")
        trusted = record["status"] == "ok"
        return Verdicts(
            protocol,
            record["status"],
            record["reason"],
            _estimate(record["clean_accuracy"]),
            tuple(_estimate(t["robust_accuracy"]) for t in record["threats"]) if trusted else (),
            arrays["broken_at"],
            arrays["broken_by"],
            record,
        )


def _protocol(record: dict[str, Any], labels: np.ndarray) -> Protocol:
    attacks = record["suite"]["attacks"]
    return Protocol(
        data=spelled(_as_tested(record["data"])),
        part=record["part"],
        images=int(record["images"]),
        labels=_fingerprint(np.asarray(labels, dtype="<i8").tobytes()),
        suite=record["suite"]["name"],
        attacks=tuple(attack["label"] for attack in attacks),
        settings=_fingerprint(json.dumps([a["config"] for a in attacks], sort_keys=True).encode()),
        threats=tuple(Threat(t["label"], t["norm"], float(t["eps"])) for t in record["threats"]),
    )


def _as_tested(data: dict[str, Any]) -> dict[str, Any]:
    given = data.get("init_args") or {}
    return {**data, "init_args": {name: value for name, value in given.items() if name not in FOR_TRAINING}}


def _estimate(interval: dict[str, float]) -> Estimate:
    return Estimate(float(interval["value"]), float(interval["low"]), float(interval["high"]))


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]

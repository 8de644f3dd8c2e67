"""Which evaluations may be compared? Those that were done in the same way, on the same images."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeproof.reports.wording import Noun, noun, spelled
from spikeproof.runs.records import AttackRecord, ThreatRecord, VerdictsRecord

# Arguments of a data set that change what a network learns from, not the images it is tested on. Should they move
# the test images after all, the fingerprint of the labels shows it.
FOR_TRAINING = ("augmentation", "train_images", "validation_images")
RESPLIT = "resplit"  # in place of the fingerprint, where each seed has a test part of its own


@dataclass(frozen=True)
class Size:
    """A threat as a column of the table; `eps` in pixels in [0, 1], or in the `unit` of recordings."""

    label: str
    norm: str
    eps: float
    unit: str


@dataclass(frozen=True)
class Conditions:
    """Everything two evaluations must share before their accuracies may stand in one ranking.

    `images` is the number of recordings where the data are `recordings`; `attacks` are named as the field names them.
    """

    data: str
    part: str
    images: int
    labels: str
    suite: str
    attacks: tuple[str, ...]
    settings: str
    draws: int
    precision: str
    threats: tuple[Size, ...]
    recordings: bool

    @property
    def what(self) -> Noun:
        return noun([self.recordings])

    @property
    def resplit(self) -> bool:
        """Whether each seed has its own split of train, validation and test."""
        return self.labels == RESPLIT

    def facets(self, what: Noun | None = None) -> dict[str, str]:
        """What a reader is told when two conditions differ; the data are called `what`."""
        many = (what or self.what).many
        return {
            "data set": self.data,
            "part": self.part,
            f"number of {many}": str(self.images),
            f"choice of {many} (fingerprint of their labels)": "each seed has its own" if self.resplit else self.labels,
            "suite": self.suite,
            "attacks": ", ".join(self.attacks),
            "attack settings (fingerprint)": self.settings,
            "passes that a stochastic network is averaged over": str(self.draws),
            "precision of the network under attack": self.precision,
            "threats": ", ".join(threat.label for threat in self.threats),
        }


def conditions(record: VerdictsRecord, labels: np.ndarray) -> Conditions:
    """Those of an evaluation of images with these labels [N]."""
    return Conditions(
        data=spelled(as_tested(record.data, record.resplit)),
        part=record.part,
        images=record.images,
        labels=RESPLIT if record.resplit else _of_labels(labels),
        suite=record.suite.name + (", judged by vote" if record.suite.judged_by == "vote" else ""),
        attacks=tuple(attack.name for attack in record.suite.attacks),
        settings=_settings(record.suite.attacks),
        draws=record.draws_if_stochastic,
        precision=((record.protocol or {}).get("init_args") or {}).get("attack_precision", "float32"),
        threats=tuple(Size(t.label, t.norm, t.eps, t.unit) for t in record.threats),
        recordings=any(map(on_recordings, record.threats)),
    )


def images_met(record: VerdictsRecord, labels: np.ndarray) -> str:
    """Which images of the data: their labels, and the seed of the split where it draws them."""
    split = (record.data.get("init_args") or {}).get("split_seed") if record.resplit else None
    return _of_labels(labels) if split is None else f"split {split}, {_of_labels(labels)}"


def on_recordings(threat: ThreatRecord) -> bool:
    return threat.kind != "images"


def as_tested(data: dict[str, Any], resplit: bool) -> dict[str, Any]:
    """A written data set without what changes nothing about the images that a network is tested on."""
    return without(data, *FOR_TRAINING, *(("split_seed",) if resplit else ()))


def without(choice: dict[str, Any], *fields: str) -> dict[str, Any]:
    """A written choice without some of its fields."""
    given = choice.get("init_args") or {}
    return {**choice, "init_args": {name: value for name, value in given.items() if name not in fields}}


def _settings(attacks: tuple[AttackRecord, ...]) -> str:
    return _fingerprint(json.dumps([attack.config for attack in attacks], sort_keys=True).encode())


def _of_labels(labels: np.ndarray) -> str:
    return _fingerprint(np.asarray(labels, dtype="<i8").tobytes())


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]

"""What does one run folder say about its network?"""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeproof.reports.intervals import Estimate
from spikeproof.reports.units import counts, on_recordings
from spikeproof.reports.wording import Noun, counted, noun, spelled
from spikeproof.runs import Run
from spikeproof.specs import UserError

# Arguments of a data set that change what a network learns from, not the images it is tested on. Should they move
# the test images after all, the fingerprint of the labels shows it.
FOR_TRAINING = ("augmentation", "train_images", "validation_images")
RESPLIT = "resplit"  # in place of the fingerprint, where each seed has a test part of its own


@dataclass(frozen=True)
class Threat:
    """A perturbation set as the evaluation wrote it down; `eps` in the units of `norm`, pixels in [0, 1].

    Where the data are recordings, `counts` says what `eps` counts; else it is empty.
    """

    label: str
    norm: str
    eps: float
    counts: str = ""


@dataclass(frozen=True)
class Protocol:
    """Everything two evaluations must share before their accuracies may stand in one ranking.

    `images` is the number of recordings where the data are recordings.
    """

    data: str
    part: str
    images: int
    labels: str
    suite: str
    attacks: tuple[str, ...]
    settings: str
    draws: int
    threats: tuple[Threat, ...]

    @property
    def recordings(self) -> bool:
        return any(threat.counts for threat in self.threats)

    @property
    def what(self) -> Noun:
        return noun([self.recordings])

    @property
    def resplit(self) -> bool:
        """Whether each seed has its own split of train, validation and test."""
        return self.labels == RESPLIT

    def facets(self) -> dict[str, str]:
        """What a reader is told when two protocols differ."""
        return {
            "data set": self.data,
            "part": self.part,
            "number of images": str(self.images),
            "choice of images (fingerprint of their labels)": "each seed has its own" if self.resplit else self.labels,
            "suite": self.suite,
            "attacks": ", ".join(self.attacks),
            "attack settings (fingerprint)": self.settings,
            "passes that a stochastic network is averaged over": str(self.draws),
            "threats": ", ".join(threat.label for threat in self.threats),
        }


@dataclass(frozen=True)
class Flag:
    """One check of whether a robust accuracy can be believed, as the evaluation wrote it down.

    Raised where `number` exceeds `threshold` or is NaN. A raised flag that `spoils` makes the verdict `unreliable`, any
    other is a warning beside a number that stands. `details` hold what the number was taken from.
    """

    name: str
    number: float
    threshold: float
    raised: bool
    spoils: bool
    meaning: str
    details: dict[str, float | str]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """How one network stood; `broken_at` and `broken_by` [N] index the threats and attacks of `protocol`.

    Networks whose `met` is equal met the same images, one by one; seeds that have a split each do not. `flags` are
    empty where the evaluation looked for none, as older ones did.
    """

    protocol: Protocol
    met: str
    status: str
    reason: str
    clean: Estimate
    robust: tuple[Estimate, ...]
    broken_at: np.ndarray
    broken_by: np.ndarray
    flags: tuple[Flag, ...]
    record: dict[str, Any]

    def holds(self, threat: int) -> np.ndarray:
        """Which images [N] are right without attack and under every attack up to threat number `threat`."""
        return self.broken_at > threat


@dataclass(frozen=True, eq=False)
class Probes:
    """What ``probes.json`` says: `figures` by name, and by spiking layer the potential perturbation over time.

    `setting` is what the networks of one table must share: attack, threat and images. `draws` passes were averaged.
    """

    setting: str
    draws: int
    figures: dict[str, float]
    adversarial: dict[str, tuple[float, ...]]
    random: dict[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One trained network: its record, its epochs and, if it was evaluated or probed, its verdicts and probes."""

    run: Run
    record: dict[str, Any]
    epochs: list[dict[str, Any]]
    verdicts: Verdicts | None
    probes: Probes | None = None
    recordings: bool = False

    @property
    def name(self) -> str:
        return str(self.record.get("name") or self.run.name)

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def choices(self) -> str:
        """The configuration without its seed, and its ANN's: equal for runs that repeat each other."""
        return json.dumps(_seedless(self.record["config"]), sort_keys=True)

    @property
    def protocol(self) -> Protocol | None:
        return self.verdicts.protocol if self.verdicts else None

    @property
    def what(self) -> Noun:
        return noun([self.recordings])


def read_evidence(run: Run) -> Evidence:
    """Everything a ranking needs of `run`; raises `UserError` that names the missing or damaged file."""
    with understood(run, "run.json"):
        record = run.record
        _ = record["config"].items(), int(record["seed"])
    epochs = run.read_lines("metrics.jsonl") if "metrics.jsonl" in run else []
    with understood(run, "metrics.jsonl"):
        epochs = [{**row, "epoch": int(row["epoch"])} for row in epochs]
    framed = _framed(run)
    verdicts = _read_verdicts(run, framed) if "verdicts.json" in run else None
    recordings = framed or bool(verdicts and verdicts.protocol.recordings)
    resplit = bool(verdicts and verdicts.protocol.resplit)
    probes = _read_probes(run, recordings, resplit) if "probes.json" in run else None
    return Evidence(run, record, epochs, verdicts, probes, recordings)


def recipe_fields(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that is written as a choice, such as that of an ANN inside another recipe."""
    return config["init_args"] if "class_path" in config else config


def _seedless(config: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in recipe_fields(config).items() if name != "seed"}
    if isinstance(data := kept.get("data"), dict):  # whose split a seed may have drawn
        kept["data"] = _without(data, "split_seed")
    return kept | ({"ann": _seedless(kept["ann"])} if kept.get("ann") else {})


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


def _framed(run: Run) -> bool:
    """Whether the data are recordings: they have a framing, or the network's input has four axes (T, P, H, W)."""
    with understood(run, "run.json"):
        data = run.record["config"].get("data") or {}
        if "framing" in (data.get("init_args") or {}):
            return True
    with understood(run, "model.json"):
        return "model.json" in run and len(run.read_json("model.json").get("shape", ())) == 4


def _read_verdicts(run: Run, recordings: bool) -> Verdicts:
    record, arrays = run.read_json("verdicts.json"), run.read_arrays("verdicts.npz")
    with understood(run, "verdicts.json"):
        protocol = _protocol(record, arrays["label"], recordings)
        sizes = {len(arrays[name]) for name in ("label", "broken_at", "broken_by")}
        if sizes != {protocol.images}:
            raise ValueError(f"{protocol.images} images, but verdicts.npz holds {sorted(sizes)}")
        trusted = record["status"] == "ok"
        return Verdicts(
            protocol,
            _met(record, arrays["label"]),
            record["status"],
            record["reason"],
            _estimate(record["clean_accuracy"]),
            tuple(_estimate(t["robust_accuracy"]) for t in record["threats"]) if trusted else (),
            arrays["broken_at"],
            arrays["broken_by"],
            tuple(_flag(flag) for flag in record.get("flags", ())),
            record,
        )


def _flag(record: dict[str, Any]) -> Flag:
    return Flag(
        name=record["name"],
        number=math.nan if record["number"] is None else float(record["number"]),
        threshold=float(record["threshold"]),
        raised=bool(record["raised"]),
        spoils=bool(record["spoils"]),
        meaning=record["meaning"],
        details=dict(record["details"].items()),
    )


def _read_probes(run: Run, recordings: bool, resplit: bool) -> Probes:
    record = run.read_json("probes.json")
    with understood(run, "probes.json"):
        figures = {name: _number(record["gradient"][name]) for name in ("nonzero_share", "above_1_percent_share", "l1")}
        for quantity in ("loss_rise", "accuracy_drop"):
            for kind in ("adversarial", "random", "gap"):
                figures[f"{quantity}_{kind}"] = _number(record[quantity][kind])
        layers = record["potential_perturbation"]
        moved = {
            kind: {layer: tuple(map(_number, course[kind])) for layer, course in layers.items()}
            for kind in ("adversarial", "random")
        }
        for layer, course in moved["adversarial"].items():
            if not course or len(course) != len(moved["random"][layer]):
                raise ValueError(f"layer {layer} has {len(course)} and {len(moved['random'][layer])} time steps")
        return Probes(_setting(record, recordings, resplit), int(record["draws"]), figures, **moved)


def _setting(record: dict[str, Any], recordings: bool, resplit: bool) -> str:
    attack, threat = spelled(record["attack"]["config"]), spelled(record["threat"]["config"])
    data = _as_tested(record["data"], resplit or bool(record.get("resplit")))
    where = f"the first {counted(int(record['images']), noun([recordings]).one)} of {spelled(data)}"
    return f"{attack} within {threat}, on {where}, {record['part']} part"


def _number(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{value} is no finite number")
    return number


def _protocol(record: dict[str, Any], labels: np.ndarray, recordings: bool) -> Protocol:
    attacks, resplit = record["suite"]["attacks"], bool(record.get("resplit"))
    recordings = recordings or any(map(on_recordings, record["threats"]))
    return Protocol(
        data=spelled(_as_tested(record["data"], resplit)),
        part=record["part"],
        images=int(record["images"]),
        labels=RESPLIT if resplit else _of_labels(labels),
        suite=record["suite"]["name"] + (", judged by vote" if record["suite"].get("judged_by") == "vote" else ""),
        attacks=tuple(attack["label"] for attack in attacks),
        settings=_fingerprint(json.dumps([a["config"] for a in attacks], sort_keys=True).encode()),
        draws=int(record["draws_if_stochastic"]),
        threats=tuple(
            Threat(t["label"], t["norm"], float(t["eps"]), counts(t) if recordings else "") for t in record["threats"]
        ),
    )


def _met(record: dict[str, Any], labels: np.ndarray) -> str:
    """Which images of the data: their labels, and the seed of the split where it draws them."""
    split = (record["data"].get("init_args") or {}).get("split_seed") if record.get("resplit") else None
    return _of_labels(labels) if split is None else f"split {split}, {_of_labels(labels)}"


def _of_labels(labels: np.ndarray) -> str:
    return _fingerprint(np.asarray(labels, dtype="<i8").tobytes())


def _as_tested(data: dict[str, Any], resplit: bool) -> dict[str, Any]:
    return _without(data, *FOR_TRAINING, *(("split_seed",) if resplit else ()))


def _without(choice: dict[str, Any], *fields: str) -> dict[str, Any]:
    """A written choice without some of its fields."""
    given = choice.get("init_args") or {}
    return {**choice, "init_args": {name: value for name, value in given.items() if name not in fields}}


def _estimate(interval: dict[str, float]) -> Estimate:
    return Estimate(float(interval["value"]), float(interval["low"]), float(interval["high"]))


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]

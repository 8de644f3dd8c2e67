"""How does a test get a run folder that looks as `train` and `evaluate` leave it?"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parsed_page import Page

from spikeproof.reports import write_report
from spikeproof.runs import Run
from spikeproof.runs.intervals import Interval

ATTACKS = ("FGSM()", "PGD(steps=20, restarts=2)", "Square(queries=500)")
EPS = (2 / 255, 4 / 255, 8 / 255)
MakeRun = Callable[..., Run]


def interval(value: float, images: int) -> dict[str, float]:
    """The share of whole images that is nearest to `value`, as an evaluation writes it."""
    return Interval.of(round(value * images), images)._asdict()


def fates(clean: float, robust: tuple[float, ...], images: int, attacks: int) -> tuple[np.ndarray, np.ndarray]:
    """broken_at, broken_by [N] such that exactly these shares of the images are right and hold."""
    counts = [round(share * images) for share in (clean, *robust)]
    broken_at = np.full(images, -1)
    broken_at[: counts[0]] = len(robust)
    for threat in reversed(range(len(robust))):
        broken_at[counts[threat + 1] : counts[threat]] = threat
    is_broken = (broken_at >= 0) & (broken_at < len(robust))
    return broken_at, np.where(is_broken, np.arange(images) % attacks, -1)


def examples(classes: int, side: int, channels: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    clean = generator.random((8, channels, side, side)).astype(np.float32)
    noise = generator.choice([-1, 1], clean.shape) * 8 / 255
    label = np.arange(8) % classes
    spikes = {}
    for layer, neurons in {"block1.neuron": 300, "block2.neuron": 64}.items():
        before = generator.random((8, neurons)) < 0.15
        spikes[f"spikes/{layer}/clean"] = before
        spikes[f"spikes/{layer}/adversarial"] = before ^ (generator.random((8, neurons)) < 0.06)
    return spikes | {
        "clean": clean,
        "adversarial": np.clip(clean + noise, 0, 1).astype(np.float32),
        "label": label,
        "clean_prediction": label,
        "adversarial_prediction": np.where(label % 2, label, (label + 3) % classes),
        "threat": np.array("Linf(8/255)"),
        "classes": np.array([f"class {k}" for k in range(classes)]),
    }


def event_examples(clean: np.ndarray, adversarial: np.ndarray, threat: str = "20 flips") -> dict[str, np.ndarray]:
    """Recordings [M, T, P, H, W], every second of them misread after the attack."""
    label = np.arange(len(clean)) % 10
    said = {"label": label, "clean_prediction": label, "adversarial_prediction": (label + label % 2) % 10}
    classes = np.array([f"gesture {k}" for k in range(10)])
    return {"clean": clean, "adversarial": adversarial, "threat": np.array(threat), "classes": classes} | said


def choice(name: str, **fields: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": fields}


def attack(label: str) -> dict[str, Any]:
    """The choice that ``PGD(steps=20, restarts=2)`` is short for."""
    kind, _, fields = label.rstrip(")").partition("(")
    numbers = dict(field.split("=") for field in fields.split(", ") if field.count("=") == 1)
    return choice(kind, **{name: int(number) for name, number in numbers.items() if number.isdigit()})


def verdicts(
    clean: float,
    robust: tuple[float, ...],
    eps: tuple[float, ...],
    images: int,
    labels: tuple[str, ...] = ATTACKS,
    **other: Any,
) -> dict[str, Any]:
    reliable = other.get("status", "ok") == "ok"
    attacks = [{"label": label, "config": attack(label)} for label in labels]
    return {
        "status": "ok",
        "reason": "",
        "images": images,
        "data": choice("Digits"),
        "part": "test",
        "suite": {"name": "quick", "attacks": attacks},
        "clean_accuracy": interval(clean, images),
        "threats": [
            {
                "label": f"Linf({round(e * 255)}/255)",
                "norm": "Linf",
                "eps": e,
                "robust_accuracy": interval(share, images) if reliable else None,
                "broken_by": {},
            }
            for e, share in zip(eps, robust, strict=True)
        ],
        "gradient_evaluations": images * 40,
        "gradient_evaluations_per_image": 40.0,
        "forward_evaluations_per_image": 540.0,
        "seconds": 12.5,
        "seed": 0,
        "draws": 1,
        "draws_if_stochastic": 16,
        "environment": {"versions": {"torch": "2.13"}, "machine": {"threads": 2}, "command": "spikeproof evaluate"},
    } | other


def flags(**numbers: float | None) -> list[dict[str, Any]]:
    """Four flags, none raised but those whose `numbers`, with _ for spaces, exceed their threshold."""
    climb = {"APGD 10": 0.45, "APGD 50": 0.5, "APGD 100": 0.51, "APGD 500": 0.625}
    looked_for = [
        ("zero input gradients", 0.0, 0.1, True, "Gradient attacks see nothing.", {"images": 1064, "paths": 3}),
        ("a dead layer", 0.25, 0.99, False, "Neurons never fire.", {"body.1": 0.25, "body.4": 0.125}),
        ("one step beats many", -0.125, 0.03, True, "Gradients lead astray.", {"FGSM": 0.325, "APGD 10": 0.45}),
        ("more steps do not help", -0.01, 0.05, True, "More steps break fewer images.", climb),
    ]
    found = []
    for name, usual, threshold, spoils, meaning, details in looked_for:
        number = numbers.get(name.replace(" ", "_"), usual)
        raised = number is None or number > threshold
        found.append({"name": name, "number": number, "threshold": threshold, "spoils": spoils, "raised": raised})
        found[-1] |= {"meaning": meaning, "details": details}
    return found


def epoch(number: int, epochs: int, robust: float) -> dict[str, Any]:
    progress = 1 - math.exp(-4 * number / epochs)
    return {
        "epoch": number,
        "learning_rate": 0.001,
        "losses": {"cross_entropy": 2.3 - 1.9 * progress, "consistency": 0.4 * progress},
        "validation_accuracy": 0.95 * progress,
        "validation_robust_accuracy": robust * progress,
        "seconds": 1.5,
        "best": number <= epochs - 2,
    }


def converted(robust: float) -> dict[str, Any]:
    """Epoch 0 of a network that was made from an ANN."""
    measured = {"validation_accuracy": 0.5, "validation_robust_accuracy": robust}
    return {"epoch": 0, "learning_rate": None, "losses": {}, "best": True, "seconds": 0.5} | measured


def probes(**other: Any) -> dict[str, Any]:
    """Two layers over three steps; every number is told from every other."""
    courses = {"body.1": ([0.1, 0.2, 0.3], [0.05, 0.06, 0.07]), "body.4": ([0.4, 0.5, 0.9], [0.11, 0.12, 0.13])}
    return {
        "images": 64,
        "draws": 1,
        "draws_if_stochastic": 16,
        "threat": {"label": "Linf 8/255", "config": choice("Linf", eps=8 / 255)},
        "attack": {"label": "PGD", "config": choice("PGD", steps=10)},
        "clean": {"loss": 0.3, "accuracy": 0.9},
        "gradient": {"nonzero_share": 0.75, "above_1_percent_share": 0.5, "l1": 3.25},
        "loss_rise": {"adversarial": 1.5, "random": 0.25, "gap": 1.25},
        "accuracy_drop": {"adversarial": 0.4, "random": 0.1, "gap": 0.3},
        "potential_perturbation": {n: {"adversarial": a, "random": r} for n, (a, r) in courses.items()},
        "data": choice("Digits"),
        "part": "test",
        "seed": 0,
        "fingerprint": "f" * 64,
    } | other


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return lambda name, **options: write_run(tmp_path / options.pop("folder", name), name, **options)


@pytest.fixture
def make_recorded(make_run: MakeRun) -> MakeRun:
    """A run whose data are recordings, its threats of one kind; each seed has its own split."""

    def made(
        name: str,
        *,
        kind: str = "EventFlips",
        label: str = "{:g} flips",
        eps: tuple[float, ...] = (10, 20, 100),
        fields: dict[str, Any] | None = None,
        shown: dict[str, np.ndarray] | None = None,
        split: int | None = None,
        **options: Any,
    ) -> Run:
        seed = options.get("seed", 0)
        framing = choice("Framing", steps=4, values="binary", span=31000)
        data = choice("EventFolder", framing=framing, test_images=200, split_seed=seed if split is None else split)
        options = {"choices": {"data": data}, "data": data, "resplit": True} | options
        run = make_run(name, **options)
        if "verdicts.json" in run:
            threats = run.read_json("verdicts.json")["threats"]
            for threat, size in zip(threats, eps, strict=True):
                threat |= {"label": label.format(size), "norm": kind, "eps": size}
                threat["config"] = choice(kind, eps=size, **(fields or {}))
            reread(run, "verdicts.json", threats=threats)
        if shown is not None:
            run.write_arrays("examples.npz", shown)
        return run

    return made


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Page]:
    return lambda *runs, **options: Page(write_report(list(runs), tmp_path / "report.html", **options))


def write_run(
    folder: Path,
    name: str,
    *,
    clean: float = 0.9,
    robust: tuple[float, ...] | None = (0.8, 0.6, 0.4),
    eps: tuple[float, ...] = EPS,
    seed: int = 0,
    images: int = 100,
    attacks: tuple[str, ...] = ATTACKS,
    objective: dict[str, Any] | None = None,
    pictures: tuple[int, int] | None = None,
    probed: dict[str, Any] | None = None,
    choices: dict[str, Any] | None = None,
    starts_converted: bool = False,
    epochs: int = 6,
    finished: str | None = "2026-01-01T00:10:00",
    **verdict: Any,
) -> Run:
    """`robust` None leaves the run unevaluated; `pictures` is (side, channels) of the example images.

    `probed` holds what differs from `probes()` ({} for nothing), `choices` are more fields of the configuration.
    """
    run = Run(folder)
    config = {
        "data": choice("Digits"),
        "network": choice("Conv", width=16, steps=8),
        "objective": objective or choice("CrossEntropy"),
        "training": choice("Training", epochs=epochs),
    } | (choices or {})
    record = {
        "name": name,
        "config": config,
        "seed": seed,
        "command": f"spikeproof train --name {name}",
        "versions": {"python": "3.11", "torch": "2.13"},
        "machine": {"processor": "abacus", "threads": 2},
        "parameters": 12345,
        "started": "2026-01-01T00:00:00",
        "finished": finished,
        "training_seconds": 95.0 if finished else None,
    }
    run.write_json("run.json", record)
    rows = [epoch(n, epochs, (robust or (0.5,))[-1]) for n in range(1, epochs + 1)]
    run.write_lines("metrics.jsonl", ([converted(0.25)] if starts_converted else []) + rows)
    if robust is not None:
        broken_at, broken_by = fates(clean, robust, images, len(attacks))
        label = np.arange(images) % 10
        run.write_json("verdicts.json", verdicts(clean, robust, eps, images, attacks, **verdict))
        arrays = {"label": label, "clean_prediction": np.where(broken_at < 0, label + 1, label)}
        arrays |= {"broken_at": broken_at, "broken_by": broken_by, "gradients": np.full(images, 40)}
        arrays |= {"forwards": np.full(images, 540)}
        run.write_arrays("verdicts.npz", arrays)
    if probed is not None:
        run.write_json("probes.json", probes(**probed))
    if pictures:
        generator = np.random.default_rng(len(name) + seed)
        run.write_arrays("examples.npz", examples(10, *pictures, generator))
    return run


def reread(run: Run, file: str, **changes: Any) -> None:
    """Changes fields of a JSON file that `write_run` wrote."""
    run.write_json(file, json.loads((run.path / file).read_text()) | changes)

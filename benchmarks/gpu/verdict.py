"""How long does a `standard` verdict of a robust network take? On the first 1,000 test images, at 8/255."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.gpu.clock import OutOfTime
from benchmarks.gpu.scene import Scene
from spikeproof.attacks import Linf
from spikeproof.choices import UserError
from spikeproof.data import CIFAR10, Digits
from spikeproof.evaluation import Protocol, Verdicts, evaluate, suite_named
from spikeproof.runs.weights import load_pair

IMAGES, TINY_IMAGES = 1000, 4
DATA = {data.shape: data for data in (CIFAR10(), Digits())}  # a network's data set, by what it takes


@dataclass
class Watched:
    """Remembers what an evaluation said last, and ends it where its time is over."""

    scene: Scene
    last: str = "nothing"

    def __call__(self, what: str, done: float, of: float) -> None:
        self.last = f"{what}, {done:.2f} of {of:g}"
        self.scene.clock.check()


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    if scene.network is None:
        raise UserError("name the weights of a robust network: --network weights.safetensors, weights.json beside it")
    model = network_in(scene.network).to(scene.device)
    # A climb may go on for minutes between two reports, so that each call looks at the clock too.
    model.register_forward_pre_hook(lambda *_: scene.clock.check())
    suite, images = ("quick", TINY_IMAGES) if scene.tiny else ("standard", IMAGES)
    protocol = Protocol(threats=Linf(8 / 255), suite=suite_named(suite), images=images)
    pool = protocol.part_of(DATA[model.shape], scene.data_root)  # type: ignore[index]
    watched, started = Watched(scene), time.perf_counter()
    about = {"suite": suite, "threat": str(protocol.threats[0]), "images": images}
    try:
        found = evaluate(model, pool, protocol, progress=watched)
    except OutOfTime:
        yield about | {"stopped_after": watched.last, "seconds": time.perf_counter() - started}
        raise
    yield about | {"seconds": time.perf_counter() - started} | summary(found)


def network_in(weights: Path) -> nn.Module:
    """The network of a file of weights and of the ``model.json`` beside it, of the same name."""
    model = load_pair(weights, weights.with_suffix(".json"))
    if getattr(model, "shape", None) not in DATA:
        raise UserError(
            f"the network takes {getattr(model, 'shape', 'no images that it names')}, not images of CIFAR-10"
        )
    return model


def summary(found: Verdicts) -> dict[str, Any]:
    """What the verdict is: the same numbers on any device, but for rounding."""
    said = found.summary()
    keys = ("status", "reason", "gradient_evaluations_per_image", "forward_evaluations_per_image")
    return {key: said[key] for key in keys} | {
        "clean_accuracy": found.clean_accuracy().value,
        "robust_accuracy": None if (robust := found.robust_accuracy(0)) is None else robust.value,
        "broken_by": {
            attack["name"]: int((found.broken_by == number).sum())
            for number, attack in enumerate(said["suite"]["attacks"])
        },
        "flags_raised": [flag.key for flag in found.flags if flag.raised],
    }

"""How many images a second does adversarial training take? By the product's own `train`, once it is warm."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.costs import images_of
from benchmarks.gpu.scene import Scene
from spikeproof.attacks import PGD, Linf
from spikeproof.data import CIFAR10, Digits
from spikeproof.objectives import Adversarial
from spikeproof.snn import IF, Network, SmallCNN, WideResNet
from spikeproof.training import SGD, Recipe, Training, train

WARM_UP, WINDOW = 20, 15.0  # steps that are not timed, and seconds that are
OBJECTIVE = Adversarial(threat=Linf(8 / 255), attack=PGD(steps=3, keep="last"))
FULL = Recipe(
    name="wrn",
    data=CIFAR10(),
    network=Network(architecture=WideResNet(depth=16, widen=4), neuron=IF(learn_threshold=True), steps=4),
    objective=OBJECTIVE,
    training=Training(epochs=2, batch=256, optimiser=SGD(learning_rate=0.05)),
)
TINY = Recipe(
    name="tiny",
    data=Digits(train_images=48),
    network=Network(architecture=SmallCNN(widths=(2, 2, 2)), steps=2),
    objective=OBJECTIVE,
    training=Training(epochs=1, batch=4, optimiser=SGD(learning_rate=0.05)),
)


class Enough(Exception):
    """All that was wanted is measured; a run may be stopped at any time."""


@dataclass
class Window:
    """Notes when the warm-up is over and when enough has passed; each time the device has done its work."""

    scene: Scene
    warm: float  # epochs
    seen: list[tuple[float, float]] = field(default_factory=list)  # seconds, epochs

    def __call__(self, what: str, done: float, of: float) -> None:
        self.scene.clock.check()
        if done < self.warm:
            return
        if self.scene.device.type == "cuda":
            torch.cuda.synchronize(self.scene.device)
        self.seen = [*self.seen[:1], (time.perf_counter(), done)]
        if done >= 1 or self.seconds >= WINDOW:
            raise Enough

    @property
    def seconds(self) -> float:
        return self.seen[-1][0] - self.seen[0][0]

    @property
    def epochs(self) -> float:
        return self.seen[-1][1] - self.seen[0][1]


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    recipe = TINY if scene.tiny else FULL
    images = images_of(recipe)
    window = Window(scene, (2 if scene.tiny else WARM_UP) * recipe.training.batch / images)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, suppress(Enough):
        train(recipe, Path(folder) / "run", data_root=scene.data_root, device=scene.device, progress=window)
    a_second = window.epochs * images / window.seconds
    yield {
        "network": "WRN-16-4" if not scene.tiny else "tiny",
        "objective": "PGD-3",
        "steps": recipe.network.steps,
        "batch": recipe.training.batch,
        "images": images,
        "images_a_second": a_second,
        "seconds_an_epoch": images / a_second,
        "seconds_until_warm": window.seen[0][0] - started,
        "peak_mib": torch.cuda.max_memory_allocated(scene.device) / 2**20 if scene.device.type == "cuda" else None,
    }

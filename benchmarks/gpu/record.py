"""How robust does the recipe for the record become on this card, and how robust is its ANN?"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.costs import seconds_an_epoch
from benchmarks.gpu.scene import Scene
from benchmarks.gpu.three_suites import verdicts
from spikeproof.attacks import PGD, Linf
from spikeproof.choices import UserError
from spikeproof.cli.files import recipe_in
from spikeproof.data import Digits
from spikeproof.objectives import Adversarial
from spikeproof.runs import Run
from spikeproof.snn import Network, ReLU, SmallCNN
from spikeproof.training import SGD, Recipe, Training, train

CONFIG = Path("cifar10", "record_wrn16")
TINY = Recipe(
    name="tiny",
    data=Digits(train_images=8),
    network=Network(architecture=SmallCNN(widths=(2, 2, 2)), steps=2),
    objective=Adversarial(threat=Linf(8 / 255), attack=PGD(steps=1, keep="last")),
    training=Training(epochs=1, batch=4, optimiser=SGD(learning_rate=0.05)),
)


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """What training took, and a verdict of each suite: of the spiking network, and of its ANN trained in the same way.

    Networks stay in the scene's folder of runs: stopped, the part goes on there.
    """
    recipe = TINY if scene.tiny else recipe_in(CONFIG)
    if scene.device.type == "cpu" and not scene.tiny:
        raise UserError(f"the recipe for the record wants a GPU: here it would take about {days(recipe):.0f} days")
    for name, one in (("record", recipe), ("record_ann", twin(recipe))):
        yield from trained_and_judged(name, one, scene)


def twin(recipe: Recipe) -> Recipe:
    """The recipe of the ANN: the same training of the same body, with ReLU in the neurons' place."""
    return replace(recipe, name=f"{recipe.name}, ANN", network=replace(recipe.network, neuron=ReLU(), steps=1))


def trained_and_judged(name: str, recipe: Recipe, scene: Scene) -> Iterator[dict[str, Any]]:
    """A row for the training, and one for each suite; `name` is the folder too."""
    folder = scene.runs / name
    model = train(recipe, folder, data_root=scene.data_root, device=scene.device, progress=scene.clock.check)
    ann = {"ann_seconds": _seconds(folder / "ann"), "ann_epochs": recipe.ann.training.epochs} if recipe.ann else {}
    yield {"network": name, "epochs": recipe.training.epochs, "training_seconds": _seconds(folder)} | ann
    yield from verdicts(name, model.to(scene.device), recipe.data, scene)


def _seconds(folder: Path) -> float:
    """Of training, as the run noted them."""
    return float(Run(folder).record.training_seconds or 0.0)


def days(recipe: Recipe) -> float:
    """How long the recipe and its ANN's would take on this processor, by a few steps on eight images."""
    both = (recipe, twin(recipe))
    return sum(one.training.epochs * seconds_an_epoch(one, torch.device("cpu"), batch=8) for one in both) / 86400

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
from spikeproof.conversion import LearnedBounds
from spikeproof.data import Digits
from spikeproof.objectives import Adversarial
from spikeproof.runs import Run
from spikeproof.runs.weights import load_model
from spikeproof.snn import QCFS, GradedIF, Network, SmallCNN
from spikeproof.training import SGD, Recipe, Training, train

CONFIG = Path("cifar10", "record_wrn16")
_ONE_EPOCH = Training(epochs=1, batch=4, optimiser=SGD(learning_rate=0.05))
_ADVERSARIAL = Adversarial(threat=Linf(8 / 255), attack=PGD(steps=1, keep="last"))
_ANN = Recipe(
    name="ANN",
    data=Digits(train_images=8),
    network=Network(architecture=SmallCNN(widths=(2, 2, 2)), neuron=QCFS(), steps=1),
    objective=_ADVERSARIAL,
    training=_ONE_EPOCH,
)
TINY = replace(
    _ANN,
    name="tiny",
    network=Network(architecture=SmallCNN(widths=(2, 2, 2)), neuron=GradedIF(charge=0.5), steps=2),
    conversion=LearnedBounds(),
    ann=_ANN,
)


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """First what training took, then a verdict of each suite on the spiking network and on its ANN.

    Networks stay in the scene's folder of runs: stopped, the part goes on there.
    """
    recipe = TINY if scene.tiny else recipe_in(CONFIG)
    if scene.device.type == "cpu" and not scene.tiny:
        raise UserError(
            f"the recipe for the record wants a GPU: here it would take about {days_on_a_cpu(recipe):.0f} days"
        )
    folder = scene.runs / "record"
    model = train(recipe, folder, data_root=scene.data_root, device=scene.device, progress=scene.clock.check)
    yield {"recipe": recipe.name, "training_seconds": trained_for(folder), "ann_seconds": trained_for(folder / "ann")}
    yield from verdicts(recipe.name, model.to(scene.device), recipe.data, scene)
    assert recipe.ann is not None
    yield from verdicts(recipe.ann.name, load_model(folder / "ann").to(scene.device), recipe.data, scene)


def trained_for(folder: Path) -> float:
    """The seconds of training that a run noted."""
    return float(Run(folder).record.training_seconds)


def days_on_a_cpu(recipe: Recipe) -> float:
    """For all epochs of the network and of its ANN, by a few steps on eight images."""
    stages = [recipe, recipe.ann] if recipe.ann else [recipe]
    epoch = {stage.name: seconds_an_epoch(stage, torch.device("cpu"), batch=8) for stage in stages}
    return sum(stage.training.epochs * epoch[stage.name] for stage in stages) / 86400

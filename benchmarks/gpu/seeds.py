"""What do the four systems make of the same network in the same time? WRN-16-4, T = 4, a minute of training each."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.gpu.costs import seconds_an_epoch
from benchmarks.gpu.record import TINY, trained_and_judged
from benchmarks.gpu.scene import Scene
from spikeproof.attacks import Linf, Threat
from spikeproof.choices import Choice, fields_of
from spikeproof.cli.files import recipe_in
from spikeproof.training import Recipe

SYSTEMS = ("sparse_gradient", "sparse_gradient_adversarial", "stable_potential", "converted", "rsc")
RADIUS = Linf(6 / 255)  # what trains on adversarial images trains at this
BUDGET, BATCH, STEPS = 60.0, 256, 4  # seconds of training, images a step, time steps
Some = TypeVar("Some", bound=Choice)


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """For each system what training took, and a verdict of each suite."""
    for system in ("tiny",) if scene.tiny else SYSTEMS:
        recipe = TINY if scene.tiny else within(BUDGET, alike(recipe_in(Path("cifar10", f"wrn16_{system}"))), scene)
        yield from trained_and_judged(system, recipe, scene)


def alike(recipe: Recipe) -> Recipe:
    """The paper's recipe with the time steps, batch and radius that are the same for all."""
    network = replace(recipe.network, steps=min(STEPS, recipe.network.steps))  # an ANN has one
    training = replace(recipe.training, batch=BATCH)
    ann = recipe.ann and alike(recipe.ann)
    return replace(with_threat(recipe, RADIUS), network=network, training=training, ann=ann)


def with_threat(choice: Some, threat: Threat) -> Some:
    """The same choice; each threat in it, however deep, is `threat`."""
    parts = {name: getattr(choice, name) for name in fields_of(type(choice))}
    changed = {
        name: threat if isinstance(part, Threat) else with_threat(part, threat)
        for name, part in parts.items()
        if isinstance(part, Choice)
    }
    return replace(choice, **changed)


def within(seconds: float, recipe: Recipe, scene: Scene) -> Recipe:
    """The recipe with as many epochs as fit, by a few steps on this card; an ANN, if there is one, has a third."""
    ann = within(seconds / 3, recipe.ann, scene) if recipe.ann else None
    own = 2 / 3 * seconds if ann else seconds
    epochs = max(1, int(own / seconds_an_epoch(recipe, scene.device)))
    return replace(recipe, training=replace(recipe.training, epochs=epochs, warm_up=0.0), ann=ann)

"""What does a run begin with, and what is refused before anything is written?"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from spikeproof.attacks import Along
from spikeproof.choices import UserError, short, within
from spikeproof.configs import to_config
from spikeproof.conversion import convert
from spikeproof.conversion.conversion import refuse_impossible
from spikeproof.data import Images
from spikeproof.progress import Report
from spikeproof.randomness import seed_from, seeded
from spikeproof.runs import Run, environment
from spikeproof.runs.records import RunRecord
from spikeproof.snn import SpikingNetwork, can_follow, has_spikes
from spikeproof.training.recipe import Recipe
from spikeproof.training.returns import (
    CHECKPOINT,
    LEFT_BY_TRAINING,
    cleared,
    has_not_begun,
    lengthened,
    others,
    refuse_another_recipe,
)

ANN = "ann"  # the folder, inside a run's, of the ANN that it begins with


def begun(recipe: Recipe, ann: SpikingNetwork | None, part: Images, progress: Report) -> SpikingNetwork | None:
    """The network to begin with, where it is not a freshly initialised one."""
    if recipe.conversion is not None and ann is not None:
        progress("converting", 0, 1)
        seed, augmentation = seed_from(recipe.seed), recipe.data.augmentation
        return convert(ann, recipe.network, part, recipe.conversion, augmentation=augmentation, seed=seed)
    if recipe.weights is not None:
        model = recipe.build()
        recipe.weights.load_into(model)
        return model
    return None


def opened(recipe: Recipe, path: Path) -> Run:
    """The run of `recipe` in the folder `path`, which is begun there if there is none; refuses that of another."""
    run, config = Run(path), to_config(recipe)["init_args"]
    refuse_another_recipe(recipe, path)
    if "run.json" in run and others(recipe, run):
        if has_not_begun(run):
            refuse_what_cannot_work(recipe)
            cleared(run)
        else:
            lengthened(recipe, run)
        run = Run(path)
    if "run.json" in run:
        if run.record.finished and not all(file in run for file in LEFT_BY_TRAINING):
            (path / CHECKPOINT).unlink(missing_ok=True)  # a file was lost: train it all again
            run.write(replace(run.record, finished=None, training_seconds=None))
        _refuse_changed_weights(recipe, run)
        return Run(path)
    refuse_what_cannot_work(recipe)
    run.write(
        RunRecord(
            name=recipe.name,
            config=config,
            seed=recipe.seed,
            weights_sha256=recipe.weights.digest() if recipe.weights else None,
            parameters=sum(p.numel() for p in recipe.build().parameters()),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            finished=None,
            environment=environment(),
        )
    )
    return Run(path)


def refuse_what_cannot_work(recipe: Recipe) -> None:
    """Raise `UserError` for what cannot fit together, before hours are spent and before anything is written.

    What a network begins with is looked at, and where it begins with an ANN its objective is tried on two images.
    """
    model = recipe.build().eval()
    _refuse_other_paths(recipe, model)
    recipe.objective.check(model)
    if recipe.weights is not None:
        recipe.weights.load_into(model)
    if recipe.ann is None:
        return
    refuse_what_cannot_work(recipe.ann)
    ann = recipe.ann.build()
    if recipe.conversion is not None:
        refuse_impossible(recipe.conversion, ann, recipe.network, model)
    elif not recipe.objective.needs_ann:
        raise UserError(
            f"nothing here uses the ANN: give a conversion, or an objective that learns from a teacher "
            f"({type(recipe.objective).__name__} does not), or leave ann out"
        )
    if recipe.training.epochs:
        with seeded(recipe.seed, torch.device("cpu")):
            recipe.objective.prepared(ann)(
                model, torch.rand(2, *recipe.data.shape), torch.arange(2) % len(recipe.data.classes)
            )


def _refuse_other_paths(recipe: Recipe, model: nn.Module) -> None:
    """An evaluation leaves out a path that neurons cannot follow; training would go on with a weaker attack unseen."""
    for along in within((recipe.objective, recipe.training.selection), Along):
        for path in along.paths:
            if not has_spikes(model):
                raise UserError(
                    f"the attack in {short(recipe.objective)} goes along {short(path)}, and the network has no spiking "
                    f"neurons: give {short(along.attack)} alone"
                )
            if not can_follow(model, path):
                raise UserError(
                    f"the attack in {short(recipe.objective)} goes along {short(path)}, which "
                    f"{type(recipe.network.neuron).__name__} cannot follow: choose ASSG, or a slope such as ATan"
                )


def _refuse_changed_weights(recipe: Recipe, run: Run) -> None:
    """A file that a run began with may be gone; one that has changed would be taken for the old one."""
    digest = recipe.weights and recipe.weights.digest()
    if recipe.weights is not None and digest not in (None, run.record.weights_sha256):
        raise UserError(f"{recipe.weights.file} has changed since {run.path} began with it: name another folder")

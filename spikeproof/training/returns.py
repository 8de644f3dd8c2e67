"""May a recipe be trained where a run lies already? The same goes on, so does one of more epochs, others are refused.

A run that failed before anything was trained is in nobody's way.
"""

from dataclasses import replace
from pathlib import Path

from spikeproof.choices import UserError, short
from spikeproof.configs import differing, to_config
from spikeproof.runs import Run
from spikeproof.runs.digests import digest_of_json
from spikeproof.training.recipe import Recipe, Training

CHECKPOINT = "checkpoint.safetensors"
LEFT_BY_TRAINING = ("model.safetensors", "model.json", "metrics.jsonl")
EPOCHS = "training.epochs"
GRID = 64  # places in an epoch at which learning rates are compared


def refuse_another_recipe(recipe: Recipe, path: Path) -> None:
    """Raise `UserError` if the folder `path` holds a run of another recipe, and name what differs."""
    run = Run(path)
    if "run.json" not in run or has_not_begun(run) or not (names := others(recipe, run)):
        return
    if names == [EPOCHS]:
        return _refuse_other_rates(recipe.training, run)
    said = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    raise UserError(
        f"{path} holds a run of another recipe: {said} {'differ' if len(names) > 1 else 'differs'}; "
        "name another folder, or delete this one"
    )


def others(recipe: Recipe, run: Run) -> list[str]:
    """The dotted names of what the run was begun with and `recipe` says otherwise."""
    return differing(to_config(recipe) | {"init_args": run.record.config}, recipe)


def has_not_begun(run: Run) -> bool:
    """Whether nothing was trained yet: it failed before its first checkpoint, or is as it was converted."""
    return not run.record.finished and _epochs_of(run) == 0


def lengthened(recipe: Recipe, run: Run) -> None:
    """Write down that the run goes on for the epochs of `recipe`; what was trained and evaluated stays."""
    old = run.record
    config = to_config(recipe)["init_args"]
    before = (*old.config_sha256_before, digest_of_json(old.config))
    run.write(replace(old, config=config, config_sha256_before=before, finished=None, training_seconds=None))


def cleared(run: Run) -> None:
    """Take away what a run left that has not begun."""
    for file in (CHECKPOINT, *LEFT_BY_TRAINING, "run.json"):
        (run.path / file).unlink(missing_ok=True)


def _epochs_of(run: Run) -> int:
    """How many epochs were begun and kept."""
    if CHECKPOINT not in run:
        return 0
    _, facts = run.stated(CHECKPOINT)
    try:
        done = facts["metrics"][-1]["epoch"] if facts["metrics"] else 0
        return int(done) + bool(facts.get("reached", {}).get("steps"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise run.unexpected(CHECKPOINT, error) from error


def _refuse_other_rates(training: Training, run: Run) -> None:
    """Raise `UserError` unless the steps so far would be the same ones in a training of so many epochs."""
    before = (run.record.config.get("training") or {}).get("init_args") or {}
    old, done = replace(training, epochs=before.get("epochs", Training().epochs)), _epochs_of(run)
    if run.record.finished and CHECKPOINT not in run:
        raise UserError(
            f"{run.path} has no {CHECKPOINT} to go on from: name another folder for {training.epochs} epochs"
        )
    if training.epochs < done:
        raise UserError(f"{run.path} was trained for {done} epochs already, not {training.epochs}: name another folder")
    places = [place / GRID for place in range(GRID * done)]
    if any(old.learning_rate(place) != training.learning_rate(place) for place in places):
        raise UserError(
            f"{run.path} holds a run of another recipe: it was begun for {old.epochs} epochs, and "
            f"{short(old.schedule)} had other learning rates on the way to {training.epochs}; name another folder "
            "(only Constant goes on for longer), or delete this one"
        )

"""How long does training take, by a recipe? Told from a few of its steps, before it is begun."""

import time

import torch

from spikeproof.training import Recipe
from spikeproof.training.checkpoints import State
from spikeproof.training.steps import take_step

WARM, TIMED = 3, 5  # steps; the first ones compile


def images_of(recipe: Recipe) -> int:
    """How many images an epoch has."""
    return recipe.data.train_images or (recipe.data.published_train or 0) - recipe.data.validation_images


def seconds_an_epoch(recipe: Recipe, device: torch.device, batch: int | None = None) -> float:
    """Of the recipe itself, not of its ANN, by steps of its training on images of noise."""
    size = batch or recipe.training.batch
    return images_of(recipe) / size * _seconds_a_step(recipe, device, size)


def _seconds_a_step(recipe: Recipe, device: torch.device, size: int) -> float:
    state = State.fresh(recipe, device)
    terms = recipe.objective.prepared(recipe.ann.build().to(device).eval() if recipe.ann else None)
    x = torch.rand(size, *recipe.data.shape, device=device)
    y = torch.arange(size, device=device) % len(recipe.data.classes)
    for step in range(WARM + TIMED):
        if step == WARM:
            started = _now(device)
        take_step(recipe, terms, state, x, y, rate=0.0)
    return (_now(device) - started) / TIMED


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

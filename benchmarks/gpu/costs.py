"""How long does training take, by a recipe? Told from a few of its steps, before it is begun."""

import time

import torch
from torch import nn

from spikeproof.training import Recipe

WARM, TIMED = 3, 5  # steps; the first ones compile


def seconds_an_epoch(recipe: Recipe, device: torch.device, batch: int | None = None) -> float:
    """Of the recipe itself, not of its ANN: forward and backward of its objective, on images of noise."""
    data = recipe.data
    images = data.train_images or (data.published_train or 0) - data.validation_images
    size = batch or recipe.training.batch
    return images / size * _seconds_a_step(recipe, device, size)


def _seconds_a_step(recipe: Recipe, device: torch.device, size: int) -> float:
    model = _built(recipe, device)
    terms = recipe.objective.prepared(_built(recipe.ann, device).eval() if recipe.ann else None)
    x = torch.rand(size, *recipe.data.shape, device=device)
    y = torch.arange(size, device=device) % len(recipe.data.classes)
    mixed = device.type == "cuda" and recipe.training.mixed_precision is not False
    for step in range(WARM + TIMED):
        if step == WARM:
            started = _now(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            loss = sum(terms(model, x, y).values(), torch.zeros((), device=device))
        loss.backward()
    return (_now(device) - started) / TIMED


def _built(recipe: Recipe, device: torch.device) -> nn.Module:
    data = recipe.data
    model = recipe.network.build(data.shape, len(data.classes), mean=data.mean, std=data.std)  # type: ignore[arg-type]
    return model.to(device)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

"""What does an attacked image or recording look like, to us and inside the network? A few examples for the report."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import Attack, Threat
from spikeproof.calling import as_evaluated, in_full_precision
from spikeproof.randomness import seeded
from spikeproof.snn import attack_view, record
from spikeproof.snn.layer_names import layer_names

__all__ = ["examples"]


def examples(
    model: nn.Module, x: Tensor, y: Tensor, threat: Threat, attack: Attack, classes: tuple[str, ...], *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Images ``[M, C, H, W]`` before and after `attack`, with labels, predictions and the first one's spikes.

    Of recordings these are event frames ``[M, T, P, H, W]`` of numbers of events. The attack is run to its end here, so
    that pictures of different networks show the same effort.
    """
    found = threat.project(attack.run(attack_view(model), x, y, threat, seed=seed).x, x)
    with torch.no_grad(), seeded(seed, x.device), as_evaluated(model), in_full_precision():
        before, spikes = _watched(model, x)
        after, changed = _watched(model, found)
    arrays: dict[str, Any] = {
        "clean": x,
        "adversarial": found,
        "label": y,
        "clean_prediction": before,
        "adversarial_prediction": after,
    }
    arrays |= {f"spikes/{name}/clean": raster for name, raster in spikes.items()}
    arrays |= {f"spikes/{name}/adversarial": raster for name, raster in changed.items()}
    arrays = {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
    return arrays | {"threat": np.array(str(threat)), "classes": np.array(classes)}


def strongest(attacks: tuple[Attack, ...]) -> Attack:
    """The last attack of a suite that takes gradients (the last, where none does), with one start: a picture needs no
    more."""
    last = next((attack for attack in reversed(attacks) if attack.white_box), attacks[-1])
    return replace(last, restarts=1) if any(f.name == "restarts" for f in fields(last)) else last  # type: ignore


def _watched(model: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Predictions, and the first image's spikes ``[T, n]`` by layer."""
    with record(model) as inside:
        prediction = model(x).argmax(1)
    names = layer_names(model)
    return prediction, {names.get(n, n): spikes[:, 0].flatten(1) > 0 for n, spikes in inside.spikes.items()}

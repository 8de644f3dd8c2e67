"""How do the spiking layers of a network behave: which neurons fire, and where do the potentials lie?"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikeproof.calling import as_evaluated, in_full_precision
from spikeproof.evaluation.flags.statistics import share
from spikeproof.randomness import seeded
from spikeproof.snn import Internals, Slope, record
from spikeproof.snn.layer_names import layer_names


@dataclass(frozen=True)
class Activity:
    """Shares by layer, which has the name that `layer_names` gives it; empty for a network without spiking layers.

    Neurons that never fire are `dead`; those that fire at every step of every image are `saturated`. Potentials are
    `outside` the slope's window where the surrogate slope has vanished; layers without a slope have no such share.
    """

    dead: dict[str, float]
    saturated: dict[str, float]
    outside: dict[str, float]


def activity(model: nn.Module, x: Tensor, batch: int, seed: int) -> Activity:
    """What the layers of `model` do on images `x`; `batch` bounds memory alone."""
    ever: dict[str, Tensor] = {}
    always: dict[str, Tensor] = {}
    inside: dict[str, float] = {}  # summed over images
    with torch.no_grad(), seeded(seed, x.device), as_evaluated(model), in_full_precision(), record(model) as seen:
        for part in x.split(batch):
            model(part.clone())
            for name, spikes in seen.spikes.items():
                fired = spikes.flatten(2) != 0  # [T, B, neurons]
                ever[name] = fired.any(0).any(0) | ever.get(name, False)
                always[name] = fired.all(0).all(0) & always.get(name, True)
                if isinstance(slope := seen.layers[name].gradient, Slope):
                    inside[name] = inside.get(name, 0.0) + len(part) * _share_inside(slope, seen, name)
    said = layer_names(model)
    return Activity(
        dead={said.get(name, name): 1 - share(fires) for name, fires in ever.items()},
        saturated={said.get(name, name): share(fires) for name, fires in always.items()},
        outside={said.get(name, name): 1 - total / len(x) for name, total in inside.items()},
    )


def _share_inside(slope: Slope, seen: Internals, name: str) -> float:
    """The share of the layer's potentials at which `slope` has not vanished: it is 1 % of its highest at least."""
    u = seen.distances(name)
    highest = slope.derivative(torch.zeros(1, device=u.device))
    return float((slope.derivative(u) >= 0.01 * highest).float().mean(dtype=torch.float64))

"""Which spikes of one image does the attack move, layer by layer?"""

from dataclasses import dataclass

import numpy as np

MOST_NEURONS = 64


@dataclass(frozen=True)
class Raster:
    """One layer's spikes before and after. Counts and rates are over all neurons, paths over those `shown`.

    The paths are SVG, x the time step and y the neuron; rates are spikes per neuron and step.
    """

    layer: str
    steps: int
    neurons: int
    shown: int
    rate_before: float
    rate_after: float
    appeared: int
    vanished: int
    before_path: str
    kept_path: str
    appeared_path: str
    vanished_path: str


def rasters(arrays: dict[str, np.ndarray]) -> list[Raster]:
    """The layers found in examples.npz as ``spikes/<layer>/clean`` and ``.../adversarial``, bool [T, n]."""
    layers = [n.removesuffix("/clean")[7:] for n in arrays if n.startswith("spikes/") and n.endswith("/clean")]
    return [
        _raster(layer, arrays[f"spikes/{layer}/clean"] > 0, arrays[f"spikes/{layer}/adversarial"] > 0)
        for layer in layers
    ]


def _raster(layer: str, before: np.ndarray, after: np.ndarray) -> Raster:
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(f"spikes of layer {layer} have shapes {before.shape} and {after.shape}")
    steps, neurons = before.shape
    chosen = np.linspace(0, neurons - 1, min(neurons, MOST_NEURONS)).round().astype(int)
    appeared, vanished = after & ~before, before & ~after
    return Raster(
        layer=layer,
        steps=steps,
        neurons=neurons,
        shown=len(chosen),
        rate_before=float(before.mean()),
        rate_after=float(after.mean()),
        appeared=int(appeared.sum()),
        vanished=int(vanished.sum()),
        before_path=_path(before[:, chosen]),
        kept_path=_path((before & after)[:, chosen]),
        appeared_path=_path(appeared[:, chosen]),
        vanished_path=_path(vanished[:, chosen]),
    )


def _path(spikes: np.ndarray) -> str:
    """A short dash for each spike; the stroke's width is the height of a neuron."""
    return "".join(f"M{t}.1 {neuron}.5h.8" for t, neuron in np.argwhere(spikes))

"""Which events at which pixels does the attack add and remove, and when?"""

from dataclasses import dataclass

import numpy as np

from spikeproof.reports.examples.event_counts import changes

MOST_PIXELS, FEWEST_PIXELS, MOST_CELLS = 48, 12, 480
LEVELS = 4
Strokes = list[tuple[float, str]]


@dataclass(frozen=True)
class EventRaster:
    """Events of `shown` of the `pixels` that have any, each polarity by itself, over `steps` frames.

    Strokes are (opacity, SVG path), x the frame and y the pixel; a cell of more events is more opaque. `marks` is the
    path of the marks before the pixels that were touched, `touched` of the `pixels`.
    """

    steps: int
    pixels: int
    shown: int
    touched: int
    marks: str
    before: Strokes
    kept: Strokes
    appeared: Strokes
    vanished: Strokes


def event_raster(clean: np.ndarray, adversarial: np.ndarray) -> EventRaster:
    """Of one recording, frames [T, P, H, W] before and after. Pixels are in the order of polarity, row and column."""
    rise, fall = (part.reshape(len(clean), -1) for part in changes(clean, adversarial))
    before, after = (frames.reshape(len(frames), -1) for frames in (clean, adversarial))
    size = (rise + fall).sum(0)
    active = np.flatnonzero((before > 0).any(0) | (size > 0))
    chosen = _chosen(active, size[active], min(MOST_PIXELS, max(FEWEST_PIXELS, MOST_CELLS // len(clean))))
    most = max(1.0, float(before.max()), float(after.max()))
    kept = np.minimum(before, after)
    parts = [_strokes(part[:, chosen], most) for part in (before, kept, rise, fall)]
    marks = "".join(f"M-.7 {row}.5h.4" for row in np.flatnonzero(size[chosen] > 0))
    return EventRaster(len(clean), len(active), len(chosen), int((size > 0).sum()), marks, *parts)


def _chosen(pixels: np.ndarray, size: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the pixels, ascending: two thirds are those touched most, the others are not touched; or more
    of the one where there are few of the other. Evenly of all where more than half are touched."""
    touched, others = pixels[size > 0], pixels[size == 0]
    if len(touched) > len(others):
        return _evenly(pixels, most)
    room = min(len(touched), max(2 * most // 3, most - len(others)))
    least = np.sort(size)[::-1][room - 1] if room else np.inf  # of several touched that much, some are chosen evenly
    more = pixels[size > least]
    return np.sort(
        np.concatenate([more, _evenly(pixels[size == least], room - len(more)), _evenly(others, most - room)])
    )


def _evenly(pixels: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the pixels."""
    return pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), most)).round().astype(int)]


def _strokes(values: np.ndarray, most: float) -> Strokes:
    """A short dash for each cell of [T, R] that holds something, those of one level together."""
    levels = np.ceil(LEVELS * np.clip(values / most, 0, 1)).astype(int)
    places = [(level / LEVELS, np.argwhere(levels == level)) for level in range(1, LEVELS + 1)]
    return [(opacity, "".join(f"M{t}.1 {row}.5h.8" for t, row in cells)) for opacity, cells in places if len(cells)]

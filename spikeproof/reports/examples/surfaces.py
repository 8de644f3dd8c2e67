"""What does a recording look like, and what was changed in it, each on one picture?"""

import numpy as np

from spikeproof.reports.examples.event_counts import changes

SIDE = 64  # pixels of a picture; of a larger sensor, squares of pixels are joined
Colour = tuple[int, int, int]
OFF, ON = (170, 90, 255), (110, 215, 80)  # the polarities, violet and green; both together are nearly white
HALF = (128, 128, 128)  # a single polarity is drawn twice, half as bright
ADDED, REMOVED = (255, 130, 67), (98, 184, 245)  # what the page shows as appeared and vanished; together white too


def surface(frames: np.ndarray) -> np.ndarray:
    """The time surface of frames [T, P, H, W] in colour, uint8 [H, W, 3], on black.

    A pixel and polarity whose last event is in frame t shines by exp(-(T - 1 - t) / tau), tau a third of T. A fraction
    of an event shines by as much less, and the brightest counts. Source: Lagorce et al., HOTS, IEEE TPAMI 2017.
    """
    age = np.arange(len(frames))[::-1, None, None, None]
    last = (np.minimum(frames, 1) * np.exp(-age / tau(len(frames)))).max(0)
    off, on = (joined(last[p], SIDE).max((1, 3)) for p in (0, -1))
    return mixed(off, on, *colours(len(last)))


def tau(steps: int) -> float:
    """How many frames dim an event to 1 / e."""
    return steps / 3


def changed(clean: np.ndarray, adversarial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many events were added and how many removed at each pixel, summed over time and polarity [H, W]."""
    added, removed = (joined(part.sum((0, 1)), SIDE).sum((1, 3)) for part in changes(clean, adversarial))
    return added, removed


def change(added: np.ndarray, removed: np.ndarray, most: float) -> np.ndarray:
    """In colour, uint8 [H, W, 3], on black; brightness is the root of the share of `most`, so that one event shows."""
    return mixed(np.sqrt(added / most), np.sqrt(removed / most), ADDED, REMOVED)


def colours(polarities: int) -> tuple[Colour, Colour]:
    """Of the first and the last polarity, which may be the same."""
    return (OFF, ON) if polarities > 1 else (HALF, HALF)


def joined(values: np.ndarray, side: int) -> np.ndarray:
    """[H, W] in squares [rows, k, columns, k], the last ones filled up with 0, such that at most `side` are in a row.

    A maximum or a sum over the axes 1 and 3 joins them.
    """
    height, width = values.shape
    k = -(-max(height, width) // side)
    filled = np.pad(values, ((0, -height % k), (0, -width % k)))
    return filled.reshape(filled.shape[0] // k, k, filled.shape[1] // k, k)


def mixed(first: np.ndarray, second: np.ndarray, one: Colour, other: Colour) -> np.ndarray:
    """Two brightnesses [H, W] in [0, 1], each in its colour, added up as light is; uint8 [H, W, 3]."""
    light = first[..., None] * np.array(one) + second[..., None] * np.array(other)
    return np.round(np.clip(light, 0, 255)).astype(np.uint8)


def visible(pixels: np.ndarray) -> np.ndarray:
    """Pixels [H, W, ...], a row of channels repeated until it is a quarter as high as it is wide."""
    return pixels.repeat(max(1, pixels.shape[1] // (4 * len(pixels))), 0)

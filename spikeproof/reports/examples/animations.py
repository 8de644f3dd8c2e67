"""How does an attacked recording unfold in time, frame by frame?"""

import base64
import io

import numpy as np

from spikeproof.reports.examples.event_counts import changes
from spikeproof.reports.examples.surfaces import ADDED, REMOVED, colours, joined, mixed, visible

SIDE = 48  # pixels of a panel
GAP = 1
LEVELS = 5  # of brightness, besides black
TIPS = 16  # shades of the last pixel of the bar that shows the time
WHOLE_MS = 2400  # for all frames, as far as each is seen
SLOWEST_MS, FASTEST_MS = 300, 40

PANELS = 2 * (LEVELS + 1) ** 2  # colours of two panels' levels, before those of the gap and the bar
EDGE, BAR = PANELS, PANELS + 1


def animation(clean: np.ndarray, adversarial: np.ndarray) -> str:
    """A GIF, as a data URI, of clean, attacked and change [T, P, H, W] side by side, over a bar that shows the time.

    It has T frames, as long as these are fewer than 16 for each pixel of its width, and begins again at the end.
    Brightness goes up in steps with the root of the number of events; the brightest is the largest number in a cell of
    the clean recording, and at least one event.
    """
    from PIL import Image

    most = max(1.0, float(clean.max()))
    rise, fall = changes(clean, adversarial)
    palette, frames = _palette(clean.shape[1]), []
    for t in range(len(clean)):
        parts = [_seen(clean[t], most), _seen(adversarial[t], most)]
        parts.append(_levels(joined(rise[t].sum(0), SIDE).sum((1, 3)), joined(fall[t].sum(0), SIDE).sum((1, 3)), most))
        parts[2] += PANELS // 2
        frame = Image.fromarray(_over_bar(parts, (t + 1) / len(clean)))
        frame.putpalette(palette)
        frames.append(frame)
    each = min(SLOWEST_MS, max(FASTEST_MS, WHOLE_MS // len(frames) // 10 * 10))
    buffer = io.BytesIO()
    rest = frames[1:]
    frames[0].save(buffer, "GIF", save_all=True, append_images=rest, duration=each, loop=0, palette=palette)
    return "data:image/gif;base64," + base64.b64encode(buffer.getvalue()).decode()


def _seen(frame: np.ndarray, most: float) -> np.ndarray:
    """The colours of one frame [P, H, W]."""
    off, on = (joined(frame[p], SIDE).max((1, 3)) for p in (0, -1))
    return _levels(off, on, most)


def _levels(first: np.ndarray, second: np.ndarray, most: float) -> np.ndarray:
    """The colour of two numbers of events [H, W], an index uint8 in the first part of the palette."""
    one, other = (np.ceil(LEVELS * np.sqrt(np.clip(part / most, 0, 1))) for part in (first, second))
    return (one * (LEVELS + 1) + other).astype(np.uint8)


def _over_bar(parts: list[np.ndarray], share: float) -> np.ndarray:
    """Panels [H, W] beside each other; below, a bar of `share` of their width.

    Pillow leaves out a frame that is like the one before; the bar keeps it.
    """
    parts = [visible(part) for part in parts]
    edge = np.full((len(parts[0]), GAP), EDGE, np.uint8)
    row = np.concatenate([parts[0], edge, parts[1], edge, parts[2]], 1)
    full, tip = divmod(share * row.shape[1], 1)
    bar = np.full((1, row.shape[1]), BAR, np.uint8)
    bar[0, : int(full)] = BAR + TIPS
    if tip:
        bar[0, int(full)] = BAR + int(tip * TIPS)
    return np.concatenate([row, np.full_like(bar, EDGE), bar])


def _palette(polarities: int) -> bytes:
    """Every mixture of two polarities, every mixture of added and removed, the gap, and the bar from off to on."""
    steps = np.linspace(0, 1, LEVELS + 1)
    one, other = np.meshgrid(steps, steps, indexing="ij")
    mixtures = [mixed(one, other, *pair).reshape(-1, 3) for pair in (colours(polarities), (ADDED, REMOVED))]
    bar = np.linspace((60, 60, 60), (235, 235, 235), TIPS + 1).round().astype(np.uint8)
    return np.concatenate([*mixtures, np.full((1, 3), 96, np.uint8), bar]).tobytes()

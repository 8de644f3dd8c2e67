"""What did the network see before and after the attack, and what was changed?"""

import base64
import io
from dataclasses import dataclass

import numpy as np

from spikeproof.reports.wording import size

MOST_PICTURES = 6


def _even(scale: float) -> float:
    """A size without what rounding left of it: whole grey levels, or four digits."""
    levels = 255 * scale
    return round(levels) / 255 if abs(levels - round(levels)) < 1e-3 else round(scale, 4)


@dataclass(frozen=True)
class Picture:
    """One image before and after the attack, with what it shows and what the network says, as data URIs."""

    truth: str
    before: str
    after: str
    clean: str
    adversarial: str
    difference: str

    @property
    def outcome(self) -> str:
        return outcome(self.truth, self.before, self.after)


@dataclass(frozen=True)
class Gallery:
    """`scale` is the change that is shown as black or white in the differences; grey is no change."""

    threat: str
    scale: str
    pictures: list[Picture]


def gallery(arrays: dict[str, np.ndarray]) -> Gallery:
    """The first images of examples.npz: clean, adversarial [M, C, H, W] in [0, 1], and their predictions."""
    clean, adversarial = arrays["clean"][:MOST_PICTURES], arrays["adversarial"][:MOST_PICTURES]
    change = adversarial.astype(np.float64) - clean
    scale = float(np.abs(change).max(initial=0)) or 1 / 255
    pictures = [
        Picture(*names, *map(_uri, (clean[i], adversarial[i], 0.5 + change[i] / (2 * scale))))
        for i, names in enumerate(said(arrays))
    ]
    return Gallery(str(arrays["threat"]), size(_even(scale)), pictures)


def said(arrays: dict[str, np.ndarray]) -> list[tuple[str, str, str]]:
    """The names of the true class, and of those predicted before and after, of each example shown."""
    kinds = ("label", "clean_prediction", "adversarial_prediction")
    truth, before, after = (_named(arrays[kind], arrays["classes"]) for kind in kinds)
    return list(zip(truth, before, after, strict=True))


def outcome(truth: str, before: str, after: str) -> str:
    if before != truth:
        return "wrong before"
    return "holds" if after == truth else "broken"


def _named(indices: np.ndarray, classes: np.ndarray) -> list[str]:
    return [str(classes[int(index)]) for index in indices[:MOST_PICTURES]]


def _uri(image: np.ndarray) -> str:
    """`image` [C, H, W] in [0, 1] as a PNG; grey or colour as it is, two event polarities in blue and red."""
    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if len(levels) == 2:
        levels = np.stack([levels[0], levels.min(0), levels[1]])
    elif len(levels) not in (1, 3):
        levels = levels.mean(0, keepdims=True).astype(np.uint8)
    return as_uri(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))


def as_uri(pixels: np.ndarray) -> str:
    """Pixels, uint8 [H, W] or [H, W, 3], as a PNG in a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

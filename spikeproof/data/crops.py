"""Which part of a picture does a network see: the middle, or one that is drawn anew in each epoch?"""

import math
from typing import TYPE_CHECKING

import numpy as np

from spikeproof.randomness import seed_from

if TYPE_CHECKING:
    from PIL.Image import Image

AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10


def resize_shorter_side(image: "Image", length: int) -> "Image":
    """`image` scaled so that its shorter side has `length` pixels, bilinear and antialiased."""
    from PIL.Image import Resampling

    width, height = image.size
    if width <= height:
        return image.resize((length, int(length * height / width)), Resampling.BILINEAR)
    return image.resize((int(length * width / height), length), Resampling.BILINEAR)


def centre_crop(image: "Image", size: int) -> "Image":
    """The `size` x `size` pixels in the middle of `image`, which must be at least as large."""
    left = round((image.size[0] - size) / 2)
    top = round((image.size[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def random_crop(image: "Image", size: int, draw: int) -> "Image":
    """A random box of `image`, scaled to `size` x `size` pixels, bilinear and antialiased; the same for one `draw`.

    The box has 8 to 100 % of the area, and sides of 3:4 to 4:3. Source: Szegedy et al., Going Deeper with Convolutions,
    CVPR 2015, section 6, as ImageNet networks are trained since.
    """
    from PIL.Image import Resampling

    return image.resize((size, size), Resampling.BILINEAR, box=random_box(*image.size, draw))


def random_box(width: int, height: int, draw: int) -> tuple[int, int, int, int]:
    """Left, top, right and lower edge of the box; where none fits in ten tries, the largest in the middle."""
    raw = np.random.PCG64(seed_from(draw)).random_raw(4 * TRIES)  # numpy promises that these never change
    for area, ratio, across, down in ((raw >> np.uint64(11)) * 2.0**-53).reshape(TRIES, 4).tolist():
        pixels = width * height * (AREA[0] + (AREA[1] - AREA[0]) * area)
        shape = RATIO[0] * (RATIO[1] / RATIO[0]) ** ratio  # width over height, uniform in its logarithm
        w, h = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h

"""Pictures of two classes for tests: red cats and blue dogs."""

from pathlib import Path

import numpy as np
from PIL import Image


def paint(root: Path, train: int, test: int) -> Path:
    """`train` and `test` pictures of each class, JPEGs of many sizes, in `root`/pictures; returns `root`."""
    random = np.random.default_rng(0)
    for side, count in (("train", train), ("test", test)):
        for channel, name in ((0, "cat"), (2, "dog")):
            folder = root / "pictures" / side / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (*random.integers(28, 60, 2), 3), dtype=np.uint8)
                pixels[..., channel] += 100
                Image.fromarray(pixels).save(folder / f"{number}.JPEG", quality=90)
    return root

"""What would fit where a step of training ran out of memory? It is tried, and said."""

from collections.abc import Callable
from functools import partial

from spikeproof.choices import UserError
from spikeproof.shortage import free, unless_short


def what_fits(step: Callable[[int], object], images: int) -> UserError:
    """What to say where a step of so many `images` did not fit: the largest half of a half of ... that did."""
    free()
    fewer = images // 2
    while fewer >= 2 and unless_short(partial(step, fewer)) is None:
        fewer //= 2
    would = f"batches of {fewer} would fit: set training.batch to {fewer}"
    return UserError(
        f"training stopped: out of memory in a step of {images} images; "
        f"{would if fewer >= 2 else 'two images do not fit either'}. The last checkpoint is still there; "
        "another batch is another recipe, so name another folder for it"
    )

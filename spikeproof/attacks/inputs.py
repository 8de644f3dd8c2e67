"""Which inputs can be attacked? Images ``[B, C, H, W]`` in [0, 1], and event frames ``[B, T, P, H, W]`` of counts."""

from typing import Any

import torch
from torch import Tensor

from spikeproof.choices import UserError

PRECISE = (torch.float32, torch.float64)  # in which a projected image is inside its threat: 16 bits round by more
NEAR = 1e-3  # as far outside [0, 1] is a matter of rounding


def check_precision(x: Tensor, what: str) -> None:
    """Refuse values of 16 bits or fewer, which cannot be judged, and tensors without values."""
    if x.is_meta:
        raise UserError(f"{what} on the device meta have no values")
    if x.dtype not in PRECISE:
        raise UserError(
            f"{what} are float32 or float64, not {x.dtype}, which rounds by more than a threat allows: x.float()"
        )


def laid_out(x: Tensor) -> Tensor:
    """The same values in the usual order in memory, so that nothing depends on how they lay; without a gradient."""
    x = x.detach().contiguous()
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x


def check_input(x: Any) -> None:
    """Refuse what is neither images nor, with five axes, event frames."""
    check_frames(x) if isinstance(x, Tensor) and x.ndim == 5 else check_images(x)


def check_images(x: Tensor) -> None:
    """Refuse images that are no float ``[B, C, H, W]`` in [0, 1], naming the first such image."""
    if not isinstance(x, Tensor):
        raise UserError(f"images are a tensor, not {type(x).__name__}: torch.from_numpy makes one of an array")
    if x.ndim < 2 or not x.is_floating_point():
        hint = ": divide by 255" if x.dtype == torch.uint8 else ""
        raise UserError(f"images are a float tensor [B, C, H, W] in [0, 1], not {x.dtype} {list(x.shape)}{hint}")
    if x.ndim == 5:
        raise UserError("event frames [B, T, P, H, W] are no images: choose a threat on frames, FrameLinf for example")
    check_precision(x, "images")
    if len(x) == 0:
        raise UserError("there are no images: the batch is empty")
    wrong = ~((x >= 0) & (x <= 1)).flatten(1).all(1)  # NaN is in no interval
    if wrong.any():
        index = int(wrong.nonzero()[0])
        low, high = x[index].min().item(), x[index].max().item()
        near = low >= -NEAR and high <= 1 + NEAR
        right = (
            "clamp(0, 1) takes off what was rounded" if near else "divide by 255, and leave normalisation to the model"
        )
        raise UserError(f"image {index} has values from {low:.9g} to {high:.9g}; images lie in [0, 1] ({right})")


def check_frames(x: Any) -> None:
    """Refuse event frames that are no float ``[B, T, P, H, W]`` from 0 on, naming the first such recording."""
    if not isinstance(x, Tensor) or x.ndim != 5 or not x.is_floating_point():
        seen = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        images = isinstance(x, Tensor) and 2 <= x.ndim <= 4 and x.is_floating_point()
        hint = ": for images choose a threat on images, Linf for example" if images else ""
        raise UserError(f"event frames are a float tensor [B, T, P, H, W], not {seen}{hint}")
    check_precision(x, "event frames")
    if len(x) == 0:
        raise UserError("there are no recordings: the batch is empty")
    wrong = ~((x >= 0) & x.isfinite()).flatten(1).all(1)
    if wrong.any():
        index = int(wrong.nonzero()[0])
        low, high = x[index].min().item(), x[index].max().item()
        raise UserError(
            f"recording {index} has frames from {low:.9g} to {high:.9g}; counts of events are finite and 0 or more"
        )

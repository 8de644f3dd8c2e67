"""What does a network from elsewhere take and return, if not images in [0, 1] and logits?"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from spikeproof.choices import Choice, UserError

Reduction = Literal["mean", "sum", "last"]


@dataclass(frozen=True, kw_only=True)
class Interface(Choice):
    """`mean` and `std` are of the pixels in [0, 1] that it was trained on: one number a channel, or one for all.

    `reduce` makes logits of outputs ``[T, B, K]`` over time: their mean, their sum, or the last of them. Of a pair
    (spikes, membrane), as networks of snnTorch return it, "mean" and "sum" take the spikes, and "last" the membrane.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    reduce: Reduction | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.mean) != bool(self.std):
            raise UserError("mean and std belong together: (x - mean) / std")
        if self.mean and len(self.mean) != len(self.std):
            raise UserError(f"mean has {len(self.mean)} numbers and std {len(self.std)}; each has one a channel")
        if wrong := [each for each in self.mean if not 0 <= each <= 1]:
            raise UserError(f"mean is of pixels in [0, 1], not {wrong[0]:g}: divide mean and std by 255")
        if wrong := [each for each in self.std if each <= 0]:
            raise UserError(f"std is above 0, not {wrong[0]:g}")

    @property
    def plain(self) -> bool:
        """Whether it takes images in [0, 1] and returns logits."""
        return self == Interface()

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``[C, 1, 1]``, or ``[]`` where one number is for all channels."""
        shape = (-1, 1, 1) if len(self.mean) > 1 else ()
        return torch.tensor(self.mean or (0.0,)).view(shape), torch.tensor(self.std or (1.0,)).view(shape)

    def check(self, x: Tensor) -> None:
        """Raises `UserError` for images ``[B, C, H, W]`` or frames ``[B, T, P, H, W]`` of other channels."""
        channels = x.shape[-3] if x.ndim > 3 else 1
        if len(self.mean) not in (0, 1, channels):
            raise UserError(f"mean and std have {len(self.mean)} numbers, and the images {channels} channels")

    def logits(self, returned: Any, images: int) -> Any:
        """The logits ``[B, K]`` in what the network returned for so many images; what is no output stays as it is."""
        if _is_pair(returned):
            if self.reduce is None:
                raise UserError(
                    "the network returns a pair of tensors, spikes and membrane for example: say with reduce what its "
                    "logits are: 'sum' or 'mean' of the spikes over time, or the 'last' membrane"
                )
            returned = returned[1] if self.reduce == "last" else _spikes(returned[0])
        if self.reduce is None or not isinstance(returned, Tensor) or returned.ndim != 3:
            return returned
        if returned.shape[1] != images:
            order = ", which looks like [B, T, K]: transpose(0, 1)" if returned.shape[0] == images else ""
            raise UserError(f"outputs over time are [T, B, K]; these are {list(returned.shape)}{order}")
        if self.reduce == "last":
            return returned[-1]
        return returned.sum(0) if self.reduce == "sum" else returned.mean(0)


def _is_pair(returned: Any) -> bool:
    return (
        isinstance(returned, tuple | list)
        and len(returned) == 2
        and all(isinstance(each, Tensor) and each.ndim in (2, 3) for each in returned)
        and returned[0].shape == returned[1].shape
    )


def _spikes(found: Tensor) -> Tensor:
    """Refuses what holds other numbers than 0 and 1; looked at where no gradient is taken, as every judge does."""
    if not torch.is_grad_enabled() and bool(((found != 0) & (found != 1)).any()):
        raise UserError("of a pair of outputs the first are spikes, 0 or 1, and the second the membrane; these are not")
    return found

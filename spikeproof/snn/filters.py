"""Which events does a network not get to see? Filters of event frames, part of the network that they defend.

A filter decides by what else was recorded whether an event is kept. Filtered frames are ``frames * keep``, with `keep`
held fixed in the backward pass (BPDA, Athalye et al., ICML 2018). So a filter hides the network from no gradient
attack.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.choices import AtLeast, Choice, Count, UserError

__all__ = ["BackgroundActivity", "Filter", "FilteredNetwork", "HotPixels", "QuantisedActivity"]


class Filter(Choice):
    """Keeps some events of a recording and removes the others; adds and changes none."""

    @abstractmethod
    def keep(self, frames: Tensor) -> Tensor:
        """A mask like the frames ``[B, T, P, H, W]``: whether the events of a cell are kept.

        In a cell without events it says whether one would be kept: a gradient then tells an attack where one more is
        seen. What is above 0 counts as an event, fractions too.
        """


@dataclass(frozen=True, kw_only=True)
class BackgroundActivity(Filter):
    """An event stays if another pixel within `radius`, in rows and columns, fired in its frame or one of the last
    `steps`, with any polarity.

    Source: the BAF of R-SNN, Marchisio et al., IROS 2021. It goes by the order of single events, which frames do not
    keep: that two events of one frame support each other is ours. `data.background_activity` filters single events.
    """

    radius: Count = 1
    steps: Annotated[int, AtLeast(0)] = 1

    def keep(self, frames: Tensor) -> Tensor:
        return supported((frames > 0).any(2), self.radius, self.steps).unsqueeze(2).expand_as(frames)


@dataclass(frozen=True, kw_only=True)
class HotPixels(Filter):
    """Pixels with more than `most` events, over time and both polarities, are silenced for the whole recording.

    Source: the mask filter MF of R-SNN, Marchisio et al., IROS 2021.
    """

    most: Annotated[int, AtLeast(0)] = 16

    def keep(self, frames: Tensor) -> Tensor:
        activity = frames.sum((1, 2), keepdim=True)  # [B, 1, 1, H, W]
        return activity + (frames <= 0) <= self.most  # an event where none was would be one more


@dataclass(frozen=True, kw_only=True)
class QuantisedActivity(Filter):
    """`BackgroundActivity` in coarser units of time, `quantum` frames each, and then `HotPixels`.

    An event stays if another pixel within `radius` fired in the same quantum or one of the last `steps`. A pixel with
    more than `most` such events is silenced. Events keep their frames. The composition is ours, after the AQF of
    Security-Aware Approximate SNNs, arXiv 2301.05264, whose algorithm we did not check.
    """

    quantum: Count = 2
    radius: Count = 1
    steps: Annotated[int, AtLeast(0)] = 1
    most: Annotated[int, AtLeast(0)] = 16

    def keep(self, frames: Tensor) -> Tensor:
        fired = (frames > 0).any(2)  # [B, T, H, W]
        missing = -fired.shape[1] % self.quantum
        quanta = F.pad(fired, (0, 0, 0, 0, 0, missing)).unflatten(1, (-1, self.quantum)).any(2)
        near = supported(quanta, self.radius, self.steps).repeat_interleave(self.quantum, 1)[:, : fired.shape[1]]
        near = near.unsqueeze(2)
        return near & HotPixels(most=self.most).keep(frames * near)


class FilteredNetwork(nn.Module):
    """`model`, any module from event frames ``[B, T, P, H, W]`` to logits, behind `filters`, the first one first.

    A network of ours has them in its encoder, ``Frames(filters=...)``, and in its run folder.
    """

    def __init__(self, model: nn.Module, filters: tuple[Filter, ...]) -> None:
        super().__init__()
        self.model = model
        self.filters = tuple(filters)

    @property
    def stochastic(self) -> bool:
        """What the model says of itself; nothing, if it says nothing."""
        return self.model.stochastic  # type: ignore[return-value]

    def forward(self, frames: Tensor) -> Tensor:
        return self.model(filtered(frames, self.filters))

    def extra_repr(self) -> str:
        return f"filters={self.filters}"


def filtered(frames: Tensor, filters: tuple[Filter, ...]) -> Tensor:
    """What the filters, one after the other, leave of frames ``[B, T, P, H, W]``; the gradient is that of a mask."""
    if frames.ndim != 5:
        raise UserError(f"filters take event frames [B, T, P, H, W], not {list(frames.shape)}")
    for each in filters:
        frames = frames * each.keep(frames.detach()).to(frames.dtype)
    return frames


def supported(fired: Tensor, radius: int, steps: int) -> Tensor:
    """Where a pixel within `radius`, but for the pixel itself, fired at this or one of the last `steps` steps.

    Masks ``[B, T, H, W]``. Counts of ones, which float32 holds exactly.
    """
    steps = min(steps, fired.shape[1] - 1)
    past = F.pad(fired.float(), (0, 0, 0, 0, steps, 0)).unsqueeze(1)
    recent = F.max_pool3d(past, (steps + 1, 1, 1), stride=1).squeeze(1)
    count = F.avg_pool2d(recent, 2 * radius + 1, stride=1, padding=radius, divisor_override=1)
    return count - recent > 0.5

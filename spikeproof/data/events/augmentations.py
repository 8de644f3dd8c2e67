"""How are event frames changed at random, each recording differently and the same way in all its frames?"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeproof.choices import AtLeast, Count, NonNegative, UserError, Within
from spikeproof.data.augmentations import Augmentation, Cutout, planes_of, source


@dataclass(frozen=True, kw_only=True)
class NDA(Augmentation):
    """Mirrored with probability one half (with `flip`), then one of three: rolled, rotated, or with a hole.

    Rolled by up to `shift` pixels, what leaves on one side coming in on the other; rotated by up to `degrees` about the
    middle, to the nearest pixel; a square of `hole` pixels emptied. Source: Li et al., Neuromorphic Data Augmentation
    for Training Spiking Neural Networks, ECCV 2022, in the form that Liu et al., ICML 2024, use for CIFAR10-DVS. The
    ranges are ours, for frames of 48 pixels.
    """

    flip: bool = True
    shift: Annotated[int, AtLeast(0)] = 5
    degrees: NonNegative = 15.0
    hole: Count = 8

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        planes = planes_of(x)
        draw = torch.rand(5, len(x), generator=generator, device=source(x, generator)).to(x.device)
        if self.flip:
            planes = torch.where(draw[0].view(-1, 1, 1, 1) < 0.5, planes.flip(-1), planes)
        kind = (draw[1] * 3).long().view(-1, 1, 1, 1)
        down, right = ((draw[2:4] * (2 * self.shift + 1)).floor() - self.shift).long()
        rotated = _rotated(planes, (2 * draw[4] - 1) * math.radians(self.degrees))
        changed = torch.where(kind == 0, _rolled(planes, down, right), rotated)
        return torch.where(kind == 2, Cutout(size=self.hole)(planes, generator), changed).view_as(x)


@dataclass(frozen=True, kw_only=True)
class EventDrop(Augmentation):
    """Events lost in one of three ways, or, as often, in none: all of a span of time, of an area, or single ones.

    A share of up to `most` is lost: of the frames, in a row; of the area, one rectangle of the frame's proportions; or
    of the cells, each emptied by itself. Source: Gu et al., EventDrop, IJCAI 2021, where single events are drawn and
    not cells.
    """

    most: Annotated[float, Within(0, 1, "(]")] = 0.5

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if x.ndim != 5:
            raise UserError(f"EventDrop takes event frames [B, T, P, H, W], not a tensor of shape {list(x.shape)}")
        draw = torch.rand(5, len(x), generator=generator, device=source(x, generator)).to(x.device)
        kind, share = (draw[0] * 4).long(), self.most * draw[1]
        side = share.sqrt()  # of the rectangle, as a share of the frame's
        late = _within(x.shape[1], share, draw[2]).view(len(x), -1, 1, 1, 1)
        here = _within(x.shape[3], side, draw[3]).view(len(x), 1, 1, -1, 1)
        here = here & _within(x.shape[4], side, draw[4]).view(len(x), 1, 1, 1, -1)
        each = torch.rand(x.shape, generator=generator, device=source(x, generator)).to(x.device)
        lost = [torch.zeros_like(late), late, here, each < share.view(-1, 1, 1, 1, 1)]
        for number, these in enumerate(lost):
            x = x.masked_fill(these & (kind == number).view(-1, 1, 1, 1, 1), 0)
        return x


def _within(length: int, share: Tensor, place: Tensor) -> Tensor:
    """Which of `length` positions [B, length] are in a run of about `share` [B], placed in the rest by `place` [B]."""
    run = (share * length).round()
    start = (place * (length - run + 1)).floor()
    position = torch.arange(length, device=share.device)
    return (position >= start.unsqueeze(1)) & (position < (start + run).unsqueeze(1))


def _rolled(planes: Tensor, down: Tensor, right: Tensor) -> Tensor:
    batch, _, height, width = planes.shape
    rows = (torch.arange(height, device=planes.device) - down.unsqueeze(1)) % height  # [B, H]
    columns = (torch.arange(width, device=planes.device) - right.unsqueeze(1)) % width
    each = torch.arange(batch, device=planes.device).view(-1, 1, 1)
    return planes.permute(0, 2, 3, 1)[each, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def _rotated(planes: Tensor, angle: Tensor) -> Tensor:
    height, width = planes.shape[2:]
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turn = torch.stack([cosine, -sine * height / width, zero, sine * width / height, cosine, zero], 1).view(-1, 2, 3)
    grid = F.affine_grid(turn.to(planes.dtype), list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, mode="nearest", align_corners=False)

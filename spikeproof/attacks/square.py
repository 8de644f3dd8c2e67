"""Square: random search that changes one square of the image at a time, and asks for no gradient."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from spikeproof.attacks.attack import Answer, Best, BlackBox, Query
from spikeproof.attacks.losses import AttackLoss, Margin
from spikeproof.attacks.threats import Threat
from spikeproof.specs import UserError

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 queries

SURPLUS = 3.0  # as AutoAttack's on RGB images; there it is the number of channels, which is weak on grey ones


@dataclass(frozen=True, kw_only=True)
class Square(BlackBox):
    """`queries` images a restart, each the best so far but for one square; it is kept where the loss is larger.

    A square covers `share` of the image at first, halved nine times on the published schedule. Windows lie in the last
    two axes, all axes before them are channels; flat images are folded into rows. Source: Andriushchenko et al.,
    ECCV 2020, algorithms 1 to 3; for L1 the code of AutoAttack.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    queries: int = 5000
    share: float = 0.8
    restarts: int = 1
    loss: AttackLoss = Margin()
    eot: int = 1

    def __post_init__(self) -> None:
        self.refuse_below_one("queries", "restarts", "eot")
        if not 0 < self.share <= 1:
            raise UserError(f"share is the part of the image that a square covers, in (0, 1], not {self.share}")

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        if threat.norm not in MOVES:
            raise UserError(f"Square knows the norms {', '.join(MOVES)}, not that of {threat}")
        best = Best(x)
        for _ in range(self.restarts):
            if len(who := query.left(best)):
                with query.among(who) as within:
                    found = self._walk(within, x[who], y[who], threat)
                best.offer(found.x, Answer(found.loss, found.broken), who)
        return best.x

    def _walk(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Best:
        start, move = MOVES[threat.norm]
        best, (height, width) = Best(x), plane(x)
        pictures = x.reshape(len(x), -1, height, width)  # [B, C, H, W]
        for number in range(self.queries):
            if not len(who := query.left(best)):
                break
            here = pictures[who]
            if number:
                edge = math.sqrt(self.share_after(number) * height * width)
                changed = move(best.x[who].view_as(here), here, edge, threat.eps)
            else:
                changed = start(here, threat.eps)
            z = threat.project(changed.view_as(x[who]), x[who])
            best.offer(z, query.answer(z, y[who], self.loss, who, self.eot), who)
        return best

    def share_after(self, number: int) -> float:
        """The share of the image that a square covers after `number` queries."""
        return self.share / 2 ** sum(int(number / self.queries * 10000) > end for end in HALVED_AFTER)


def plane(x: Tensor) -> tuple[int, int]:
    """Height and width of images of any shape; flat ones have as many rows as divide them most evenly."""
    if x.ndim > 2:
        return x.shape[-2], x.shape[-1]
    pixels = x.shape[1]
    rows = next(n for n in range(math.isqrt(pixels), 0, -1) if pixels % n == 0)
    return rows, pixels // rows


def signs(*shape: int, like: Tensor) -> Tensor:
    return torch.randint(0, 2, shape, device=like.device).to(like.dtype) * 2 - 1


def window(z: Tensor, side: int) -> Tensor:
    """Where one random square an image lies, as places in the flattened planes ``[B, C, side * side]``."""
    batch, channels, height, width = z.shape
    row = torch.randint(0, height - side + 1, (batch, 1, 1), device=z.device)
    column = torch.randint(0, width - side + 1, (batch, 1, 1), device=z.device)
    along = torch.arange(side, device=z.device)
    places = (row + along.view(-1, 1)) * width + column + along
    return places.view(batch, 1, -1).expand(-1, channels, -1)


def stripes(x: Tensor, eps: float) -> Tensor:
    """Vertical stripes of +-eps in every channel."""
    return x + eps * signs(len(x), x.shape[1], 1, x.shape[3], like=x)


def flipped(z: Tensor, x: Tensor, edge: float, eps: float) -> Tensor:
    """A square of +-eps in every channel: 2 eps lead to a bound from wherever `z` is, and are projected back to it."""
    places = window(z, min(max(round(edge), 1), *z.shape[2:]))
    change = 2 * eps * signs(*z.shape[:2], 1, like=z)
    return z.flatten(2).scatter_add(2, places, change.expand_as(places).contiguous()).view_as(z)


def tiles(x: Tensor, eps: float, order: int) -> Tensor:
    """Five by five pairs of bumps, of random signs."""
    batch, channels, height, width = x.shape
    side = min(max(height // 5, 1), width)
    rows, columns = height // side, width // side
    bump = bumps(batch * rows * columns, side, order, like=x).view(batch, 1, rows, columns, side, side)
    signed = bump * signs(batch, channels, rows, columns, 1, 1, like=x)
    change = torch.zeros_like(x)
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    middle = signed.transpose(3, 4).reshape(batch, channels, rows * side, columns * side)
    change[:, :, top : top + rows * side, left : left + columns * side] = middle
    return x + eps * change / length(change.flatten(1), order).view(-1, 1, 1, 1)


def exchanged(z: Tensor, x: Tensor, edge: float, eps: float, order: int, surplus: float = 1) -> Tensor:
    """What one square changes is given up, and goes, with what was left of `eps`, to a pair of bumps in another one.

    Times `surplus`: under L1 the projection takes the excess from every pixel, which leaves few that change.
    """
    side = min(max(round(edge), 3) // 2 * 2 + 1, *z.shape[2:])
    delta = (z - x).flatten(2)  # [B, C, H W]
    taker, giver = window(z, side), window(z, side)
    both = torch.zeros_like(delta).scatter(2, taker, 1).scatter(2, giver, 1)
    unspent = (eps**order - length(delta.flatten(1), order) ** order).clamp(min=0).view(-1, 1, 1)
    budget = (unspent / z.shape[1] + length(delta * both, order) ** order) ** (1 / order) * surplus
    old = delta.gather(2, taker)
    bump = bumps(len(z), side, order, like=z).flatten(1).unsqueeze(1) * signs(*z.shape[:2], 1, like=z)
    new = bump + old / length(old, order)
    new = budget * new / length(new, order)
    return x + delta.scatter(2, giver, 0).scatter(2, taker, new).view_as(z)


def bumps(count: int, side: int, order: int, like: Tensor) -> Tensor:
    """Two bumps of opposite signs in a square, one beside or above the other, of length 1 ``[count, side, side]``."""
    halves = [bump(side // 2, side, order), -bump(side - side // 2, side, order)]
    pair = torch.cat([half / length(half.flatten(), order) for half in halves]).to(like)
    pair = pair / length(pair.flatten(), order)
    return torch.stack([pair, pair.mT])[torch.randint(0, 2, (count,), device=like.device)]


def bump(height: int, width: int, order: int) -> Tensor:
    """Terraces round the middle, the one of radius r higher than the next by 1 / (r + 1)^(2 or 4)."""
    rows, columns = ((torch.arange(n) - n // 2).abs() for n in (height, width))
    steps = torch.arange(1, max(height, width) // 2 + 2.0) ** -(2 if order == 2 else 4)
    heights = steps.flip(0).cumsum(0).flip(0)
    return heights[torch.maximum(rows.view(-1, 1), columns)]


def length(rows: Tensor, order: int) -> Tensor:
    """The norm along the last axis, kept as an axis of 1, and never 0."""
    return rows.norm(order, dim=-1, keepdim=True).clamp(min=1e-12)


Start = Callable[[Tensor, float], Tensor]
Move = Callable[[Tensor, Tensor, float, float], Tensor]
MOVES: dict[str, tuple[Start, Move]] = {
    "Linf": (stripes, flipped),
    "L2": (partial(tiles, order=2), partial(exchanged, order=2)),
    "L1": (partial(tiles, order=1), partial(exchanged, order=1, surplus=SURPLUS)),
}

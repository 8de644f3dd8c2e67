"""Square: random search that changes one square of the image at a time, and asks for no gradient."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.attack import BlackBox
from spikeproof.attacks.engine import Iterative
from spikeproof.attacks.losses import AttackLoss, Margin
from spikeproof.attacks.query import Answer, Query, best_of, per_image
from spikeproof.attacks.threats import Threat
from spikeproof.choices import Count, UserError, Within, short
from spikeproof.randomness import Streams, scaled, signs_of

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 queries

SURPLUS = 3.0  # as AutoAttack's on RGB images; there it is the number of channels, which is weak on grey ones


class State(NamedTuple):
    """The best image of this walk, its loss, and whether it is misclassified."""

    z: Tensor
    loss: Tensor
    broken: Tensor


@dataclass(frozen=True, kw_only=True)
class Square(Iterative, BlackBox):
    """`queries` images a restart, each the best so far but for one square; it is kept where the loss is larger.

    `proposals` of them are looked at side by side in a step, and the best of these is kept: fewer and larger batches
    for the same number of queries, which it divides. A square covers `share` of the image at first, halved nine times
    on the published schedule. Windows lie in the last two axes, all axes before them are channels; flat images are
    folded into rows. Source: Andriushchenko et al., ECCV 2020, algorithms 1 to 3; for L1 the code of AutoAttack.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    queries: Count = 5000
    proposals: Count = 1
    share: Annotated[float, Within(0, 1, "(]")] = 0.8
    restarts: Count = 1
    loss: AttackLoss = Margin()
    eot: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queries % self.proposals:
            raise UserError(f"queries, {self.queries}, must be a multiple of proposals, {self.proposals}")

    def check(self, threat: Threat) -> None:
        super().check(threat)
        if threat.norm not in MOVES:
            raise UserError(f"{short(self)} knows the norms {', '.join(MOVES)}, not that of {threat}")

    @property
    def length(self) -> int:
        return self.queries // self.proposals

    def begin(self, query: Query) -> State:
        x, threat = query.x, query.threat
        changed = MOVES[threat.norm].start(pictures(x), threat.eps, query.streams)
        z = threat.project(changed.view_as(x), x)
        return State(z, z.new_full((len(z),), -torch.inf), torch.zeros(len(z), dtype=torch.bool, device=z.device))

    def step(self, query: Query, state: State) -> State:
        z, answer = self._proposed(query, state)
        better = answer.beats(Answer(state.loss, state.broken))
        best = State(
            torch.where(per_image(better, z), z, state.z),
            torch.where(better, answer.loss.to(state.loss.dtype), state.loss),
            torch.where(better, answer.broken, state.broken),
        )
        if self.restarts == 1:  # then the best of this walk is the best of all
            query.keep_best(*best)
        return best

    def _proposed(self, query: Query, state: State) -> tuple[Tensor, Answer]:
        """The best image of those that this step looks at; in the first step the start is one of them."""
        x, start, many = query.x, state.z, self.proposals
        number, streams, rows = (query.count - 1) * many, query.streams, None
        if many > 1:
            rows = torch.arange(len(x), device=x.device).repeat_interleave(many)
            number = number[rows] + torch.arange(many, device=x.device).repeat(len(x))
            x, start, streams = x[rows], start[rows], streams.split(many)
        square = Squares(self.share, halvings(number, self.queries), streams)
        move = MOVES[query.threat.norm].move
        changed = move(pictures(start), pictures(x), query.threat.eps, square)
        z = torch.where(per_image(number > 0, x), query.threat.project(changed.view_as(x), x), start)
        answer = query.answer(z, self.loss, rows=rows, offer=self.restarts > 1 and rows is None)
        if rows is None:
            return z, answer
        z, answer = best_of(z, answer, many)
        if self.restarts > 1:
            query.offer(z, answer)
        return z, answer


def halvings(number: Tensor, queries: int) -> Tensor:
    """How often the share of the image that a square covers was halved before query `number` ``[B]``."""
    return _schedule(queries, number.device)[number]


@lru_cache
def _schedule(queries: int, device: torch.device) -> Tensor:
    done = torch.arange(queries).unsqueeze(1) * 10000
    return (done > torch.tensor(HALVED_AFTER) * queries).sum(1).to(device)


class Squares(NamedTuple):
    """How large the squares of a step are - `share` of the image, halved so often ``[B]`` -, and their lots."""

    share: float
    halved: Tensor
    streams: Streams

    def sides(self, height: int, width: int, odd: bool = False) -> tuple[int, ...]:
        """The side after each number of halvings, rounded; with `odd` to an odd number of at least 3 pixels."""
        return _sides(self.share, height, width, odd)

    def side(self, z: Tensor, odd: bool = False) -> Tensor:
        """Each image's side ``[B]`` in pictures like `z` ``[B, C, H, W]``."""
        height, width = z.shape[2:]
        return _on(z.device, self.sides(height, width, odd))[self.halved]


@lru_cache
def _sides(share: float, height: int, width: int, odd: bool) -> tuple[int, ...]:
    edges = [round(math.sqrt(share / 2**k * height * width)) for k in range(len(HALVED_AFTER) + 1)]
    wanted = [max(edge, 3) // 2 * 2 + 1 if odd else max(edge, 1) for edge in edges]
    return tuple(min(side, height, width) for side in wanted)


@lru_cache
def _on(device: torch.device, numbers: tuple[int, ...]) -> Tensor:
    return torch.tensor(numbers, device=device)  # kept: a step takes nothing from the host


def pictures(x: Tensor) -> Tensor:
    """Images of any shape as ``[B, C, H, W]``: all axes before the last two are channels, flat ones become rows."""
    return x.reshape(len(x), -1, *plane(x))


def plane(x: Tensor) -> tuple[int, int]:
    """Height and width of images of any shape; flat ones have as many rows as divide them most evenly."""
    if x.ndim > 2:
        return x.shape[-2], x.shape[-1]
    pixels = x.shape[1]
    rows = next(n for n in range(math.isqrt(pixels), 0, -1) if pixels % n == 0)
    return rows, pixels // rows


class Window(NamedTuple):
    """A square an image: its upper left `corner` ``[B, 2]``, and its `side` ``[B]``, in pixels."""

    corner: Tensor
    side: Tensor

    @staticmethod
    def drawn(z: Tensor, side: Tensor, lots: Tensor) -> "Window":
        """Anywhere inside the images ``[B, C, H, W]``, by two random numbers an image, `lots` ``[B, 2]``."""
        ends = _on(z.device, (z.shape[2] + 1, z.shape[3] + 1)) - side.unsqueeze(1)
        return Window(scaled(lots, ends), side)

    def inside(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows ``[B, H, 1]`` and which columns ``[B, 1, W]`` it covers: 1 or 0, of the type of `z`."""
        side, (height, width) = self.side.view(-1, 1, 1), z.shape[2:]
        middle = side + 2 * self.corner.unsqueeze(2)  # twice, to the middles of pixels
        covered = ((_on(z.device, tuple(range(1, 2 * max(height, width), 2))) - middle).abs() < side).to(z.dtype)
        return covered[:, 0, :height].unsqueeze(2), covered[:, 1:, :width]

    def places(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of each pixel, from the corner on: ``[B, H, 1]`` and ``[B, 1, W]``."""
        row, column = (torch.arange(length, device=z.device) for length in z.shape[2:])
        return row.view(1, -1, 1) - self.corner[:, :1, None], column - self.corner[:, 1:, None]


def stripes(x: Tensor, eps: float, streams: Streams) -> Tensor:
    """Vertical stripes of +-eps in every channel."""
    return x + eps * streams.signs(x.shape[1], 1, x.shape[3], like=x)


def flipped(z: Tensor, x: Tensor, eps: float, square: Squares) -> Tensor:
    """A square of +-eps in every channel: 2 eps lead to a bound from wherever `z` is, and are projected back to it."""
    lots = square.streams.bits(2 + z.shape[1])
    rows, columns = Window.drawn(z, square.side(z), lots[:, :2]).inside(z)
    change = signs_of(lots[:, 2:], z, 2 * eps).view(-1, z.shape[1], 1, 1)
    return torch.addcmul(z, change * rows.unsqueeze(1), columns.unsqueeze(1))


def tiles(x: Tensor, eps: float, streams: Streams, order: int) -> Tensor:
    """Five by five pairs of bumps, of random signs."""
    batch, channels, height, width = x.shape
    side = min(max(height // 5, 1), width)
    rows, columns = height // side, width // side
    lying = streams.below(2, rows * columns)
    bump = bumps(side, order).to(x)[lying].view(batch, 1, rows, columns, side, side)
    signed = bump * streams.signs(channels, rows, columns, 1, 1, like=x)
    change = torch.zeros_like(x)
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    middle = signed.transpose(3, 4).reshape(batch, channels, rows * side, columns * side)
    change[:, :, top : top + rows * side, left : left + columns * side] = middle
    return x + eps * change / length(change.flatten(1), order).view(-1, 1, 1, 1)


def exchanged(z: Tensor, x: Tensor, eps: float, square: Squares, order: int, surplus: float = 1) -> Tensor:
    """What one square changes is given up, and goes, with what was left of `eps`, to a pair of bumps in another one.

    Times `surplus`: under L1 the projection takes the excess from every pixel, which leaves few that change.
    """
    side, lots = square.side(z, odd=True), square.streams.bits(4)
    taker, giver = (Window.drawn(z, side, part) for part in lots.split(2, 1))
    taking, giving = (
        (rows * columns > 0).flatten(1).unsqueeze(1) for rows, columns in (taker.inside(z), giver.inside(z))
    )
    delta = (z - x).flatten(2)
    unspent = (eps**order - length(delta.flatten(1), order) ** order).clamp(min=0).view(-1, 1, 1)
    given_up = length(delta * (taking | giving), order) ** order
    budget = (unspent / z.shape[1] + given_up) ** (1 / order) * surplus
    height, width = z.shape[2:]
    sides = square.sides(height, width, odd=True)
    table = bump_table(sides, order, z.device).to(z)[square.halved, square.streams.below(2)].flatten(1)
    row, column = taker.places(z)
    place = (row * max(sides) + column).flatten(1).clamp(0, table.shape[1] - 1)
    bump = table.gather(1, place).unsqueeze(1) * taking
    old = delta * taking
    new = bump * square.streams.signs(z.shape[1], 1, like=z) + old / length(old, order)
    new = budget * new / length(new, order)
    return x + torch.where(taking, new, delta.masked_fill(giving, 0)).view_as(z)


@lru_cache(maxsize=8)
def bump_table(sides: tuple[int, ...], order: int, device: torch.device) -> Tensor:
    """Both pairs of bumps for each of `sides`, in the upper left corner of the largest ``[sides, 2, most, most]``."""
    table = torch.zeros(len(sides), 2, max(sides), max(sides))
    for number, side in enumerate(sides):
        table[number, :, :side, :side] = bumps(side, order)
    return table.to(device)


def bumps(side: int, order: int) -> Tensor:
    """Two bumps of opposite signs in a square, of length 1: one above the other, and beside it ``[2, side, side]``."""
    halves = [bump(side // 2, side, order), -bump(side - side // 2, side, order)]
    pair = torch.cat([half / length(half.flatten(), order) for half in halves])
    pair = pair / length(pair.flatten(), order)
    return torch.stack([pair, pair.mT])


def bump(height: int, width: int, order: int) -> Tensor:
    """Terraces round the middle, the one of radius r higher than the next by 1 / (r + 1)^(2 or 4)."""
    rows, columns = ((torch.arange(n) - n // 2).abs() for n in (height, width))
    steps = torch.arange(1, max(height, width) // 2 + 2.0) ** -(2 if order == 2 else 4)
    heights = steps.flip(0).cumsum(0).flip(0)
    return heights[torch.maximum(rows.view(-1, 1), columns)]


def length(rows: Tensor, order: int) -> Tensor:
    """The norm along the last axis, kept as an axis of 1, and never 0."""
    return rows.norm(order, dim=-1, keepdim=True).clamp(min=1e-12)


class Moves(NamedTuple):
    """The first image of a walk in one norm, and the next ones."""

    start: Callable[[Tensor, float, Streams], Tensor]
    move: Callable[[Tensor, Tensor, float, Squares], Tensor]


MOVES = {
    "Linf": Moves(stripes, flipped),
    "L2": Moves(partial(tiles, order=2), partial(exchanged, order=2)),
    "L1": Moves(partial(tiles, order=1), partial(exchanged, order=1, surplus=SURPLUS)),
}

"""How is an image brought onto a hyperplane by the least change? Exact projections onto hyperplane and box together.

The hyperplane is where ``normal . change = gap``, the box where ``x + change`` lies in [0, 1]. In every norm the pixels
move the way the gap asks for until they reach their bounds; the norm says how fast each one moves beside the others.
Source: Croce and Hein, ICML 2020 (Minimally distorted adversarial examples), who solve the duals.
"""

import torch
from torch import Tensor

from spikeproof.attacks.threats import Threat
from spikeproof.choices import UserError


def least_change(threat: Threat, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
    """The change ``[B, D]``, least in the threat's norm, of `x` ``[B, D]`` with `normal` ``[B, D]`` and `gap` ``[B]``.

    A pixel whose entry of `normal` is 0 stays. Out of the box's reach, all others end at their bounds. Raises
    `UserError` for a threat in another norm than Linf, L2 and L1.
    """
    if (norm := getattr(threat, "norm", None)) not in AMOUNTS:
        raise UserError(f"projections onto a hyperplane are known in {', '.join(AMOUNTS)}, not in the norm of {threat}")
    way = normal.sign() * gap.sign().unsqueeze(1)
    room = torch.where(way > 0, 1 - x, x) * way.abs()
    amount = AMOUNTS[norm](normal.abs().double(), room.double(), gap.abs().double().unsqueeze(1))
    return way * amount.to(x.dtype)


def _linf(gain: Tensor, room: Tensor, need: Tensor) -> Tensor:
    return _together(torch.ones_like(gain), gain, room, need)


def _l2(gain: Tensor, room: Tensor, need: Tensor) -> Tensor:
    return _together(gain, gain, room, need)


def _l1(gain: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """One pixel after the other, the one with the largest gain first."""
    gain, order = gain.sort(dim=1, descending=True)
    room = room.gather(1, order)
    filled = (gain * room).cumsum(1)
    left = need - torch.cat([torch.zeros_like(need), filled[:, :-1]], 1)
    amount = (left / gain.clamp(min=1e-300)).clamp(min=0).minimum(room)
    return torch.zeros_like(amount).scatter(1, order, amount)


def _together(speed: Tensor, gain: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """min(time speed, room) ``[B, D]`` at the first time when its product with `gain` is `need`, or when all is full.

    The product is piecewise linear in time, with a break where a pixel is full; sorting the breaks finds the piece.
    """
    breaks, order = (room / speed.clamp(min=1e-300)).sort(dim=1)
    full = (gain * room).gather(1, order).cumsum(1)
    rate = (gain * speed).gather(1, order).flip(1).cumsum(1).flip(1)  # up to each break
    full = torch.cat([torch.zeros_like(need), full[:, :-1]], 1)  # before each break
    enough = full + breaks * rate >= need
    piece = torch.where(enough.any(1), enough.double().argmax(1), enough.shape[1] - 1).unsqueeze(1)
    time = (need - full.gather(1, piece)) / rate.gather(1, piece).clamp(min=1e-300)
    return (time.clamp(min=0).minimum(breaks.gather(1, piece)) * speed).minimum(room)


AMOUNTS = {"Linf": _linf, "L2": _l2, "L1": _l1}  # by how much each pixel changes

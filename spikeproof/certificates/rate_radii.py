"""Which radius follows from votes under T Bernoulli draws a pixel? Bounds on how fast a probability can change.

One pixel of rate u, drawn T times, spikes K ~ Bin(T, u) times. Among all classifiers that answer the class with
probability p, that probability falls at most at the rate phi(p, u) when the pixel gets brighter (Neyman-Pearson): it is
concave in p, piecewise linear, with corners at p = P(K <= k), phi = T P(Bin(T - 1, u) = k). A pixel that gets darker is
its mirror, 1 - u. Along a path of L1 length s through the images, |dF/ds| <= max over pixels of phi(F, u): given the
other pixels the bound holds with their conditional probability in place of F, and phi is concave. These are derivations
of ours; `benchmarks.soundness` checks them against exact worst cases.
"""

import math
from functools import lru_cache

import numpy as np
from torch import Tensor

RATES = 1500  # of the grid of u, from its lowest to 1/2
CELLS = 800  # of the grid of p, from 1/2 to 1


def universal_radius(p: float, steps: int) -> float:
    """p^(1/T) - 2^(-1/T): the L1 radius whatever the image and the classifier. It is reached by [no spike at all].

    For p >= 1/2, the largest phi(p, u) over all u is T p^((T-1)/T).
    """
    return p ** (1 / steps) - 0.5 ** (1 / steps)


def published_radius(p: float, steps: int) -> float:
    """p - 1/2 of Mukhoty et al., ICLR 2024; wrong for T > 1, as the probability may fall T times as fast."""
    return p - 0.5


def contrast_radius(p: float, steps: int, margin: float, nearest: float | None = None) -> float:
    """The L1 radius, in rates, where rates stay in [margin, 1 - margin] and begin in [nearest, 1 - nearest].

    After a path of length s every rate lies in [nearest - s, 1 - nearest + s] too. Time is summed cell by cell of p,
    from upper bounds of phi in the cell and in the rates that can be reached by its end, so that rounding makes it
    smaller.
    """
    start = max(margin, margin if nearest is None else nearest)
    if start <= 0:
        return universal_radius(p, steps)
    edges, rates, bounds = _table(steps, max(margin, 1e-3))
    passed = 0.0
    for cell in range(int(np.searchsorted(edges, p)) - 1, -1, -1):
        fall = min(p, edges[cell + 1]) - edges[cell]

        def steepest(at: float, cell: int = cell) -> float:
            lowest = max(margin, start - at)
            known = int(np.searchsorted(rates, lowest, side="right")) - 1  # the next lower rate of the grid
            return float(bounds[known, cell]) if known >= 0 else _universal(edges[cell + 1], steps)

        passed += fall / steepest(passed + fall / steepest(passed))
    return max(passed, universal_radius(p, steps))


def hellinger_radius(p: float, rates: np.ndarray, steps: int, margin: float) -> float:
    """The largest change of all rates ``[D]``, each at most so much, at which the class stays likelier than 1/2.

    With the affinity B = prod (sqrt(u u') + sqrt((1 - u)(1 - u')))^T, arccos sqrt(p) + arccos B < pi / 4 is enough:
    both are angles between unit vectors. B is smallest pixel by pixel at u + change or u - change, inside [margin, 1 -
    margin]. By bisection, to the lower end.
    """
    room = math.pi / 4 - math.acos(math.sqrt(min(p, 1.0)))
    if room <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(40):
        change = (low + high) / 2
        low, high = (change, high) if _affinity(rates, change, steps, margin) > math.cos(room) else (low, change)
    return low


def _affinity(rates: np.ndarray, change: float, steps: int, margin: float) -> float:
    worst = np.zeros_like(rates)
    for moved in (rates - change, rates + change):
        moved = moved.clip(margin, 1 - margin)
        both = np.sqrt(rates * moved) + np.sqrt((1 - rates) * (1 - moved))
        worst = np.minimum(worst, np.log(both.clip(1e-300, 1)))
    return math.exp(steps * float(worst.sum()))


def nearest_to_an_end(rates: Tensor) -> float:
    """How far the rate that is nearest to 0 or 1 is from it."""
    return float(rates.minimum(1 - rates).min())


def _universal(p: float, steps: int) -> float:
    return float(steps * p ** ((steps - 1) / steps))


@lru_cache(maxsize=64)
def _table(steps: int, lowest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of the cells of p; rates u; and upper bounds ``[rates, cells]`` of phi in the cell, over [u, 1 - u].

    Between two rates of the grid phi rises by at most its Lipschitz constant in u, which is 2 T (T - 1) + T^2 / u: an
    expectation's second derivative is at most the former, and a multiplier of at most T / u weighs its first, T at
    most.
    """
    edges = 1 - 0.5 * (1 - np.arange(CELLS + 1) / CELLS) ** 2  # denser towards 1
    rates = np.geomspace(lowest, 0.5, RATES)
    at = np.stack([np.maximum(_steepest(steps, u, edges), _steepest(steps, 1 - u, edges)) for u in rates])
    slack = (2 * steps * (steps - 1) + steps**2 / rates[:-1]) * np.diff(rates) / 2
    between = np.maximum(at[:-1], at[1:]) + slack[:, None]
    bounds = np.minimum(np.concatenate([between, between[-1:]]), [_universal(p, steps) for p in edges[1:]])
    return edges, rates, np.maximum.accumulate(bounds[::-1])[::-1]


def _steepest(steps: int, u: float, edges: np.ndarray) -> np.ndarray:
    """The largest phi(p, u) in each cell of p ``[cells]``: phi is the least of its lines, each largest at an end."""
    from scipy.special import bdtr  # loaded when a certificate is made

    k = np.arange(steps + 1)
    slope = (steps - k) / (1 - u) - k / u
    reached = bdtr(k, steps, u)
    mass = np.diff(reached, prepend=0.0)
    height = mass * (steps - k) / (1 - u)  # T P(Bin(T - 1, u) = k)
    lines = height[:, None] + slope[:, None] * (edges - reached[:, None])  # [T + 1, edges]
    highest: np.ndarray = np.maximum(lines[:, :-1], lines[:, 1:]).min(0)
    return highest

"""How likely has a class to be, to keep its majority when events change? Closed forms, one for each noise on events.

Each says above which probability at the recording the class has more than one half at any that differs by so many
edits, for the worst classifier there is. An edit in place of an event is one deleted and one inserted.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np

SURE = 1e-12  # more than float64 rounds by


def deletion_least(deleted_with: float, inserted: int, deleted: int) -> float:
    """Events that are each deleted with probability `deleted_with`, p.

    All of those that differ are gone with p^a here, p^b there. So F' >= p^a (1 - (1 - pA) / p^b), for a inserted and b
    deleted. Our derivation; for sequences Huang et al., RS-Del, NeurIPS 2023. It holds for any function of the events
    that are kept.
    """
    gone, lost = deleted_with**inserted, deleted_with**deleted
    return 1.0 if gone <= 0.5 else 1 - lost * (1 - 0.5 / gone)


@cache
def flip_least(appear: float, vanish: float, inserted: int, deleted: int) -> float:
    """Cells of binary frames that get an event with probability `appear`, and lose theirs with `vanish`.

    Of the cells that differ, q are flipped by the noise. The fewer, the likelier it is here than there, so the worst
    class takes the smallest q. Source: Bojchevski et al., ICML 2020, section 4, of which this is the inverse.
    """
    here = np.convolve(masses(inserted, appear), masses(deleted, vanish))  # of q = 0, 1, ... at the recording
    there = np.convolve(masses(inserted, 1 - vanish), masses(deleted, 1 - appear))
    reached = there.cumsum()
    last = min(int(np.searchsorted(reached, 0.5)), len(there) - 1)
    short = 0.5 - (reached[last] - there[last])
    return float(here[:last].sum() + here[last] * min(1.0, short / there[last]))


def ablation_least(kept: int, cells: int, changed: int) -> float:
    """`kept` of `cells` cells are looked at: none of those that differ is with probability C(d - rho, k) / C(d, k).

    Source: Levine and Feizi, AAAI 2020, theorem 1.
    """
    if kept > cells - changed:
        return 1.5
    unseen = math.comb(cells - changed, kept) / math.comb(cells, kept)
    return 0.5 + (1 - unseen)


def masses(count: int, probability: float) -> np.ndarray:
    """The binomial distribution ``[count + 1]``."""
    from scipy.stats import binom  # loaded when a certificate is made

    found: np.ndarray = binom.pmf(np.arange(count + 1), count, probability)
    return found


def most_edits(p: float, least: Callable[[int], float]) -> int:
    """The largest number of edits of which `least` is below `p`; `least` grows with it."""

    def holds(edits: int) -> bool:
        return p > least(edits) + SURE

    if not holds(1):
        return 0
    low, high = 1, 2
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low

"""How large a ball of one norm lies inside a ball of another? So a certificate in one says something of another."""

import math

ORDERS = {"L1": 1.0, "L2": 2.0, "Linf": math.inf}


def inscribed(outer: str, inner: str, pixels: int) -> float:
    """The radius of the largest `inner` ball inside an `outer` one of radius 1; 0 where nothing is known.

    The norm of order p is at most D^(1/p - 1/q) times that of a higher order q, and at most that of a lower one.
    """
    if outer == inner:
        return 1.0
    if outer not in ORDERS or inner not in ORDERS:
        return 0.0
    return float(pixels ** -max(0.0, 1 / ORDERS[outer] - 1 / ORDERS[inner]))

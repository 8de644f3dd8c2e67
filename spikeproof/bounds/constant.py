"""Which spike trains can a leaky neuron have under a current that never changes? Finitely many, found one by one.

With the spikes of the steps so far the potential is a c + b in the current c. So a spike or its absence in the next
step asks for a current on one side of (threshold - b) / a, and each train has an interval of currents of its own.
"""

from typing import NamedTuple

import torch

from spikeproof.bounds.signals import Range, Trains

MANY = 512  # trains; where there are more, the graph of last spikes is looked at instead


class Constants(NamedTuple):
    """The numbers of a leaky layer; `charge` is the potential before the first step."""

    leak: float
    threshold: float
    hard: bool
    charge: float


class Train(NamedTuple):
    """A spike train, and the currents from `low` to `high` that have it."""

    spikes: tuple[int, ...]
    low: float
    high: float


def trains_of(constants: Constants, steps: int, slack: float = 0.0) -> list[Train]:
    """All trains of `steps` steps, those of low currents first; `slack` is how far a potential may be off.

    The intervals touch, and with a slack they overlap. Without one, and with a hard reset and no charge, a train is its
    period: the smallest n with c (1 + leak + .. + leak^(n-1)) >= threshold.
    """
    found: list[Train] = []
    low, high = constants.threshold - slack, constants.threshold + slack
    waiting: list[tuple[tuple[int, ...], float, float, float, float]] = [
        ((), 0.0, constants.charge, -torch.inf, torch.inf)
    ]
    while waiting:
        spikes, a, b, least, most = waiting.pop()
        if len(spikes) == steps:
            found.append(Train(spikes, least, most))
            continue
        a, b = constants.leak * a + 1, constants.leak * b
        from_, below = max(least, (low - b) / a), min(most, (high - b) / a)
        if from_ <= most:
            kept = (0.0, 0.0) if constants.hard else (a, b - constants.threshold)
            waiting.append(((*spikes, 1), *kept, from_, most))
        if least < below:
            waiting.append(((*spikes, 0), a, b, least, below))
    return sorted(found, key=lambda train: (train.low, train.high))


def under(currents: Range, trains: list[Train]) -> Trains:
    """Which of `trains` neurons may have whose constant currents ``[B, *n]`` lie in a range."""
    like = currents.low
    patterns = like.new_tensor([train.spikes for train in trains])
    begins, ends = like.new_tensor([train.low for train in trains]), like.new_tensor([t.high for t in trains])
    first = torch.searchsorted(ends.cummax(0).values, like.contiguous())
    last = torch.searchsorted(begins, currents.high.contiguous(), right=True) - 1
    return Trains(patterns, first, last)

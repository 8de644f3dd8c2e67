"""Which events of a recording are noise? The filters of event cameras, on single events and their times.

Each returns the events that it keeps, as they were; there may be none. `snn` has their likes on event frames, as a part
of the network: those an attack on frames has to face.
"""

from dataclasses import replace

import numpy as np

from spikeproof.data.events.streams import Events
from spikeproof.specs import UserError

__all__ = ["background_activity", "hot_pixels", "quantised_activity"]


def background_activity(events: Events, radius: int = 1, window_us: int = 5000) -> Events:
    """The events before which another pixel within `radius`, in rows and columns, fired less than `window_us` ago.

    Polarity does not matter. Of events at one time those count that come earlier in the recording. Source: the BAF of
    R-SNN, Marchisio et al., IROS 2021; its published code takes every pixel to have fired at time 0, and so keeps all
    that happens in the first window, which this does not.
    """
    _least(radius=(radius, 1), window_us=(window_us, 1))
    return events.where(_supported(events, radius, window_us))


def hot_pixels(events: Events, most: int = 100) -> Events:
    """The events of pixels that have `most` of them at most, over all time and both polarities.

    Source: the mask filter MF of R-SNN, Marchisio et al., IROS 2021.
    """
    _least(most=(most, 0))
    pixel = _pixels(events)
    return events.where(np.bincount(pixel)[pixel] <= most if len(events) else np.zeros(0, bool))


def quantised_activity(
    events: Events, quantum_us: int = 1000, radius: int = 1, window_us: int = 5000, most: int = 100
) -> Events:
    """What `background_activity`, on times rounded to multiples of `quantum_us`, and then `hot_pixels` keep.

    A composition of ours after the AQF of Security-Aware Approximate SNNs, arXiv 2301.05264, whose algorithm we did not
    check. The events keep their own times; half a quantum is rounded up.
    """
    _least(quantum_us=(quantum_us, 1), radius=(radius, 1), window_us=(window_us, 1), most=(most, 0))
    rounded = replace(events, t=(events.t + quantum_us // 2) // quantum_us * quantum_us)
    return hot_pixels(events.where(_supported(rounded, radius, window_us)), most)


def _supported(events: Events, radius: int, window_us: int) -> np.ndarray:
    """Whether another pixel within `radius` fired less than `window_us` before each event [N].

    For one neighbouring pixel after the other, of those events that none has supported yet, its latest event before is
    looked up among all events in the order of pixel and place in the recording.
    """
    pixel, count = _pixels(events, margin=radius), len(events)
    keys = np.sort(pixel * count + np.arange(count))
    width = events.sensor.width + 2 * radius
    kept, left = np.zeros(count, bool), np.arange(count)
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            if row == column == 0:
                continue
            neighbour = pixel[left] + row * width + column
            latest = keys[np.searchsorted(keys, neighbour * count + left) - 1]  # the last one if there is none before
            near = latest // count == neighbour
            near &= events.t[left] - events.t[latest % count] < window_us
            kept[left[near]] = True
            left = left[~near]
    return kept


def _pixels(events: Events, margin: int = 0) -> np.ndarray:
    """The number of each event's pixel, rows of a sensor with so many pixels more on every side [N]."""
    width = events.sensor.width + 2 * margin
    return (events.y.astype(np.int64) + margin) * width + events.x + margin


def _least(**settings: tuple[int, int]) -> None:
    for name, (value, low) in settings.items():
        if value < low:
            raise UserError(f"{name} must be at least {low}, not {value}")

"""Which events of a recording are noise? The filters of event cameras, on single events and their times.

Each returns the events that it keeps, as they were; there may be none. `snn` has their likes on event frames, as a part
of the network: those an attack on frames has to face.
"""

from dataclasses import replace

import numpy as np

from spikeproof.data.events.streams import Events, from_on

BLOCK = 2048  # events, so that a block's neighbourhoods stay in the cache

__all__ = ["background_activity", "hot_pixels", "quantised_activity"]


def background_activity(events: Events, radius: int = 1, window_us: int = 5000) -> Events:
    """The events before which another pixel within `radius`, in rows and columns, fired less than `window_us` ago.

    Polarity does not matter. Of events at one time those count that come earlier in the recording. Source: the BAF of
    R-SNN, Marchisio et al., IROS 2021. Its published code takes every pixel to have fired at time 0. So it keeps all
    that happens in the first window, which this does not.
    """
    from_on(radius=(radius, 1), window_us=(window_us, 1))
    return events.where(_supported(events, radius, window_us))


def hot_pixels(events: Events, most: int = 100) -> Events:
    """The events of pixels that have `most` of them at most, over all time and both polarities.

    Source: the mask filter MF of R-SNN, Marchisio et al., IROS 2021.
    """
    from_on(most=(most, 0))
    pixel = events.pixels()
    return events.where(np.bincount(pixel)[pixel] <= most if len(events) else np.zeros(0, bool))


def quantised_activity(
    events: Events, quantum_us: int = 1000, radius: int = 1, window_us: int = 5000, most: int = 100
) -> Events:
    """What `background_activity`, on times rounded to multiples of `quantum_us`, and then `hot_pixels` keep.

    A composition of ours after the AQF of Security-Aware Approximate SNNs, arXiv 2301.05264, whose algorithm we did not
    check. The events keep their own times; half a quantum is rounded up.
    """
    from_on(quantum_us=(quantum_us, 1), radius=(radius, 1), window_us=(window_us, 1), most=(most, 0))
    rounded = replace(events, t=(events.t + quantum_us // 2) // quantum_us * quantum_us)
    return hot_pixels(events.where(_supported(rounded, radius, window_us)), most)


def _supported(events: Events, radius: int, window_us: int) -> np.ndarray:
    """Whether another pixel within `radius` fired less than `window_us` before each event [N].

    Blocks of events that are no longer than a window, one after the other. What is earlier in an event's own block is
    near enough. So the first neighbour there counts, and the last one of all before the block.
    """
    count, t, pixel = len(events), events.t, events.pixels(margin=radius)
    width, height = events.sensor.width + 2 * radius, events.sensor.height + 2 * radius
    around = (np.arange(-radius, radius + 1)[:, None] * width + np.arange(-radius, radius + 1)).ravel()
    around = around[around != 0]
    first, last = np.full(height * width, count), np.full(height * width, -1)  # events round each pixel, by number
    times = np.append(t, t[:1] - window_us)  # of event -1 too
    kept = np.zeros(count, bool)
    begin = 0
    while begin < count:
        end = min(int(np.searchsorted(t, t[begin] + window_us)), begin + BLOCK)
        number, own = np.arange(begin, end), pixel[begin:end]
        places, writer = (own[:, None] + around).ravel(), np.repeat(number, len(around))
        np.minimum.at(first, places, writer)
        kept[begin:end] = (first[own] < number) | (t[begin:end] - times[last[own]] < window_us)
        np.maximum.at(last, places, writer)
        first[places] = count
        begin = end
    return kept

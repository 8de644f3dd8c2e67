"""How fast are the filters of single events, beside a loop over the events? `python -m benchmarks.event_filters`.

Random recordings of a sensor of 34 x 34 pixels and of one of 128 x 128, as many events a second as N-MNIST and DVS128
Gesture have; half of them are noise. Both must keep the same events, or nothing is timed. One process, alternating, one
thread, medians of rounds.
"""

import argparse
import itertools
import os
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.agreement import Disagreement
from benchmarks.measure import Spread, alternate
from spikeproof.data.events.filters import background_activity, hot_pixels, quantised_activity
from spikeproof.data.events.streams import Events, Sensor

LOOP, OURS = "a loop", "ours"
WINDOWS = (1000, 5000, 100_000)  # us
RECORDINGS = {"N-MNIST": (Sensor(height=34, width=34), 4_000, 310_000)}
RECORDINGS["gesture"] = (Sensor(height=128, width=128), 200_000, 6_000_000)  # events, us


def recording(sensor: Sensor, count: int, duration: int) -> Events:
    """Random events, the half of them in a blob that moves."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, duration, count))
    blob = (0.5 + 0.3 * np.sin(t / duration * 20))[:, None] + rng.normal(0, 0.05, (count, 2))
    place = np.where(rng.random((count, 1)) < 0.5, blob.clip(0, 0.999), rng.random((count, 2)))
    y, x = (place * [sensor.height, sensor.width]).astype(np.int16).T
    return Events(t=t, x=x, y=y, p=rng.integers(0, 2, count).astype(np.uint8), sensor=sensor)


def loop(events: Events, radius: int, window: int) -> Events:
    """R-SNN's background activity filter, event by event, its neighbourhood written as a block."""
    last = np.full((events.sensor.height, events.sensor.width), -np.inf)
    kept = np.zeros(len(events), bool)
    for i, (t, x, y) in enumerate(zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), strict=True)):
        own = last[y, x]
        kept[i] = t - own < window
        last[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1] = t
        last[y, x] = own
    return events.where(kept)


def calls(events: Events, radius: int, window: int) -> dict[str, Callable[[], Events]]:
    return {
        LOOP: lambda: loop(events, radius, window),
        OURS: lambda: background_activity(events, radius, window),
        "hot pixels": lambda: hot_pixels(events, 100),
        "quantised": lambda: quantised_activity(events, 1000, radius, window, 100),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.event_filters", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the events: is everything in order?")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table(
        "recording", "radius", "ms", title="Million events a second: median; times the loop's speed (quartiles)"
    )
    for heading in (LOOP, OURS, "over the loop", "hot pixels", "quantised"):
        table.add_column(heading, justify="right")
    for name, (sensor, count, duration) in RECORDINGS.items():
        events = recording(sensor, count // (100 if options.quick else 1), duration)
        for radius, window in itertools.product((1, 2, 4), WINDOWS):
            todo = calls(events, radius, window)
            slow, fast = todo[LOOP](), todo[OURS]()
            if not np.array_equal(np.stack([slow.t, slow.x, slow.y]), np.stack([fast.t, fast.x, fast.y])):
                raise Disagreement(
                    f"{name}, radius {radius}, {window} us: the loop keeps {len(slow)} events and ours {len(fast)}"
                )
            times = alternate(todo, options.rounds, torch.device("cpu"))
            speed = {of: len(events) / Spread.of(times.seconds[of]).median / 1e6 for of in todo}
            over = times.ratio(LOOP, OURS)
            ratio = f"{over.median:.1f} ({over.low:.1f}-{over.high:.1f})"
            rates = [f"{speed[of]:.2f}" for of in (LOOP, OURS, "hot pixels", "quantised")]
            table.add_row(name, str(radius), f"{window / 1000:g}", *rates[:2], ratio, *rates[2:])
    Console().print(table)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

"""What is a recording of an event camera? The time, place and polarity of each event, checked once."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np

from spikeproof.choices import Choice, UserError, Within
from spikeproof.data.events.repairs import (
    Repairs,
    coding_of,
    order_of,
    refuse_other_units,
    refuse_what_is_beyond_repair,
)

Side = Annotated[int, Within(1, 2**15)]  # pixels
LATEST = np.iinfo(np.int64).max  # us


@dataclass(frozen=True, kw_only=True)
class Sensor(Choice):
    """What records: `polarities` (1 or 2), `height` and `width`. A cochlea's channels are a row of pixels, height 1."""

    polarities: Literal[1, 2] = 2
    height: Side
    width: Side

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, H, W) of a frame of its events."""
        return self.polarities, self.height, self.width


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Events in the order of time, [N] each: `t` int64 in us, `x`, `y` int16 in pixels, `p` uint8, 0 off and 1 on.

    `checked` makes one of what a file holds; a recording that was made so is never empty and never out of order.
    """

    t: np.ndarray = field(repr=False)
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    p: np.ndarray = field(repr=False)
    sensor: Sensor
    repairs: Repairs | None = None  # what was done to make them so, where repair was asked for

    def __len__(self) -> int:
        return len(self.t)

    @property
    def duration(self) -> int:
        """From the first event to the last, in us."""
        return int(self.t[-1] - self.t[0])

    def from_zero(self) -> "Events":
        """The same with time counted from the first event."""
        return replace(self, t=self.t - self.t[0])

    def pixels(self, margin: int = 0) -> np.ndarray:
        """The number of each event's pixel, int64 [N], in rows of a sensor with `margin` pixels more on every side."""
        return (self.y.astype(np.int64) + margin) * (self.sensor.width + 2 * margin) + self.x + margin

    def where(self, chosen: np.ndarray) -> "Events":
        """The events at `chosen`, a mask or ascending indices [M]; there may be none."""
        return Events(t=self.t[chosen], x=self.x[chosen], y=self.y[chosen], p=self.p[chosen], sensor=self.sensor)


def from_on(**settings: tuple[int, int]) -> None:
    """Raise `UserError` for the first of the settings that is below its least value, or no whole number."""
    for name, (value, least) in settings.items():
        if not isinstance(value, int) or value < least:
            raise UserError(f"{name} is a whole number from {least} on, not {value}")


def agreed(asked: Sensor | None, named: Sensor | None, source: object, *, repair: bool) -> Sensor | None:
    """The sensor that is asked for, or else the one that the `source`, which errors name, says that it is of.

    Raises `UserError` where these are two; with `repair`, the one that is asked for counts.
    """
    if asked is None or named is None or asked == named or repair:
        return asked or named
    raise UserError(
        f"{source}: it is of a sensor of {named.shape} (polarities, height, width), not of {asked.shape}; repair "
        "reads what fits into the latter"
    )


def checked(
    t: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    p: np.ndarray,
    sensor: Sensor,
    source: object,
    *,
    places: np.ndarray | None = None,
    repair: bool = False,
) -> Events:
    """Events of numbers [N] as a file holds them, of any integer type, time in us; `source` is named in errors.

    Raises `UserError`, with the index of the first event that is wrong, for coordinates outside the sensor, and a
    polarity that is not 0..polarities - 1. It does so for a negative time or one before that of the last event, for
    no events, and for a recording of more than a day. With `repair`, wrong events are left out, a tenth at most, and
    the others put in the order of their time; `repairs` counts both. Polarities of another coding are refused even so.
    `places` [N] are the indices in the source, where these are not all of its records.
    """
    if not len(t) == len(x) == len(y) == len(p):
        raise UserError(f"{source}: {len(t)} times, {len(x)} and {len(y)} coordinates and {len(p)} polarities")
    for name, values in (("t", t), ("x", x), ("y", y), ("p", p)):
        if values.ndim != 1 or values.dtype.kind not in "iub":
            raise UserError(f"{source}: {name} is whole numbers [N], not {values.dtype} {list(values.shape)}")
    faults = (
        ((x < 0) | (x >= sensor.width), lambda i: f"x {x[i]} is outside the sensor, 0 to {sensor.width - 1}"),
        ((y < 0) | (y >= sensor.height), lambda i: f"y {y[i]} is outside the sensor, 0 to {sensor.height - 1}"),
        ((p < 0) | (p >= sensor.polarities), lambda i: f"polarity {p[i]} is none of 0 to {sensor.polarities - 1}"),
        ((t < 0) | (t > LATEST), lambda i: f"time {t[i]} us is {'negative' if t[i] < 0 else 'later than 2^63 - 1'}"),
        (np.concatenate(([False], t[1:] < t[:-1])), lambda i: f"time {t[i]} us comes after {t[i - 1]} us"),
    )
    done, count = None, len(t)
    coding = coding_of(p, sensor.polarities) if faults[2][0].any() else None
    if repair:
        if coding:
            raise UserError(f"{source}: {coding}")
        good = np.flatnonzero(~np.any([wrong for wrong, _ in faults[:4]], axis=0))
        order, moved = order_of(t[good])
        t, x, y, p = (values[good[order]] for values in (t, x, y, p))
        done = Repairs(count, count - len(t), moved)
        refuse_what_is_beyond_repair(done.left_out if len(t) else 0, count, source)
    else:
        worst = min(
            ((int(wrong.argmax()), say) for wrong, say in faults if wrong.any()), key=lambda f: f[0], default=None
        )
        if worst is not None:
            index, say = worst
            place = index if places is None else places[index]
            right = coding or "repair leaves out what is wrong and sorts the rest"
            raise UserError(f"{source}: event {place}: {say(index)}; {right}")
    if not len(t):
        raise UserError(f"{source}: there are no events")
    refuse_other_units(t, source)
    return Events(
        t=t.astype(np.int64),
        x=x.astype(np.int16),
        y=y.astype(np.int16),
        p=p.astype(np.uint8),
        sensor=sensor,
        repairs=done,
    )

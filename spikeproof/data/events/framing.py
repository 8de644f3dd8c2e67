"""How do events become frames, the tensors that networks take? By time or by number, a whole batch at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spikeproof.choices import Choice, Count, Steps, UserError
from spikeproof.data.events.streams import Events, Sensor


@dataclass(frozen=True, kw_only=True)
class Framing(Choice):
    """`steps` frames of each recording, each the events of a part of it, counted in every cell.

    By "number" the frames have equal numbers of events, up to one: event i of n is in frame floor(i steps / n). By
    "time" they are equally long: from the first event to the last, or `span` us each, and what comes later is left out.
    Spans count time `since` the "first" event, or since "zero" of the recording's own clock. Only with a `span` since
    "zero" is an event's frame its own affair, whatever other events there are: since the "first", an event before it
    moves all others. `crop` (height, width) keeps the middle of the sensor; `pool` joins squares of so many pixels, an
    incomplete square at the right or lower border too. Values are counts, or "binary": whether there is any event.
    """

    steps: Steps = 10
    by: Literal["number", "time"] = "time"
    values: Literal["count", "binary"] = "count"
    span: Count | None = None
    since: Literal["first", "zero"] = "first"
    crop: tuple[Count, Count] | None = None
    pool: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.span is None and self.since == "zero":
            raise UserError("since='zero' is for frames of a fixed span: give how many us each takes, span=...")
        if self.span is not None and self.by == "number":
            raise UserError(f"span is how many us a frame by time takes; not {self.span} by number")

    def shape(self, sensor: Sensor) -> tuple[int, int, int, int]:
        """(T, P, H, W) of the frames of one recording; raises `UserError` for a crop that is larger than the sensor."""
        height, width = self._kept(sensor)
        return self.steps, sensor.polarities, -(-height // self.pool), -(-width // self.pool)

    def __call__(self, recordings: Sequence[Events]) -> Tensor:
        """Frames ``[N, T, P, H, W]``, float32, of recordings of one sensor."""
        sensors = {events.sensor for events in recordings}
        if len(sensors) != 1:
            raise UserError(f"frames are made of recordings of one sensor, not of {len(sensors)}")
        shape = (len(recordings), *self.shape(sensors.pop()))
        size = int(np.prod(shape[1:]))
        cells = [self.cells(events) for events in recordings]
        places = np.concatenate([cell[cell >= 0] + number * size for number, cell in enumerate(cells)])
        frames = torch.zeros(shape).view(-1)
        frames.scatter_add_(0, torch.from_numpy(places), torch.ones(1).expand(len(places)))
        return (frames.clamp_(max=1) if self.values == "binary" else frames).view(shape)

    def cells(self, events: Events) -> np.ndarray:
        """Which cell of the flattened frames (T, P, H, W) each event is in, int64 [N]; -1 where it is left out."""
        _, polarities, height, width = self.shape(events.sensor)
        kept = self._kept(events.sensor)
        top, left = (events.sensor.height - kept[0]) // 2, (events.sensor.width - kept[1]) // 2
        frame, y, x = self.frames(events), events.y.astype(np.int64) - top, events.x.astype(np.int64) - left
        cell = ((frame * polarities + events.p) * height + y // self.pool) * width + x // self.pool
        inside = (y >= 0) & (y < kept[0]) & (x >= 0) & (x < kept[1]) & (frame >= 0)
        return np.where(inside, cell, -1)

    def frames(self, events: Events) -> np.ndarray:
        """Which frame each event is in, int64 [N]; -1 where it comes too late."""
        if not len(events):
            return np.zeros(0, np.int64)
        if self.by == "number":
            return np.arange(len(events)) * self.steps // len(events)
        if self.span is None:
            starts = [-(-frame * (events.duration + 1) // self.steps) for frame in range(1, self.steps)]
            edges = np.searchsorted(events.t - events.t[0], starts)
            return np.repeat(np.arange(self.steps), np.diff(edges, prepend=0, append=len(events)))
        start = events.t[0] if self.since == "first" else 0
        frame = (events.t - start) // self.span
        return np.where(frame < self.steps, frame, -1)

    def _kept(self, sensor: Sensor) -> tuple[int, int]:
        if self.crop is None:
            return sensor.height, sensor.width
        if self.crop[0] > sensor.height or self.crop[1] > sensor.width:
            raise UserError(f"crop {self.crop} is larger than the sensor, {sensor.height} x {sensor.width} pixels")
        return self.crop

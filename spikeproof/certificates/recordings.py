"""How is a network asked about raw events? Framing becomes a part of it, and a recording a list of its events."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.data import Images
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.recordings import FramedRecordings
from spikeproof.data.events.streams import Events, Sensor

COLUMNS = ("t", "x", "y", "p")
TIME, POLARITY = 0, 3
GONE = -1  # the polarity of what is no event any more


class Framed(nn.Module):
    """Raw events ``[B, N, 4]`` -> logits ``[B, K]``: frames of those that are there, and `network` of these.

    The columns are t in us, x, y and p, int64; an event of polarity -1 is none. They may be in any order. Where there
    is no event at all, frames are empty, and the class is the one that the network names then.
    """

    def __init__(self, network: nn.Module, framing: Framing, sensor: Sensor) -> None:
        super().__init__()
        self.network, self.framing, self.sensor = network, framing, sensor
        self.training = network.training

    def forward(self, events: Tensor) -> Tensor:
        frames = self.framing([events_of(row, self.sensor) for row in events.cpu().numpy()])
        answer: Tensor = self.network(frames.to(events.device))
        return answer

    def extra_repr(self) -> str:
        return f"framing={self.framing}, sensor={self.sensor}"


class Recordings:
    """The raw events of a part of a data set, one recording at a time."""

    def __init__(self, images: Images, frames: FramedRecordings) -> None:
        self.images, self.frames = images, frames
        self.labels = images.labels

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor, /) -> tuple[Tensor, Tensor]:
        """Events ``[1, N, 4]`` and the label ``[1]`` of one index ``[1]``."""
        (row,) = self.images.rows[indices].tolist()
        return listed(self.events(row)).unsqueeze(0), self.labels[indices]

    def events(self, row: int) -> Events:
        return self.frames.read(self.frames.source[row])[self.frames.within[row]]


def behind(model: nn.Module, pool: Any, what: str) -> tuple[Framed, Recordings]:
    """The network with its framing, and the raw events that the frames of `pool` are made of.

    Raises `UserError` where there are none.
    """
    frames = pool.pixels if isinstance(pool, Images) else None
    if not isinstance(frames, FramedRecordings):
        raise UserError(
            f"{what} is about raw events: certify a data set of recordings, NMNIST() for example, or a part of one; of "
            "event frames take DeletionSmoothing"
        )
    recordings = Recordings(pool, frames)
    sensor = recordings.events(int(pool.rows[0])).sensor
    return Framed(model, frames.framing, sensor), recordings


def listed(events: Events) -> Tensor:
    """Events ``[N, 4]``, int64."""
    return torch.from_numpy(np.stack([getattr(events, name).astype(np.int64) for name in COLUMNS], 1))


def events_of(rows: np.ndarray, sensor: Sensor) -> Events:
    """The events that are there of ``[N, 4]``, in the order of time."""
    there = rows[rows[:, POLARITY] != GONE]
    t, x, y, p = there[there[:, TIME].argsort(kind="stable")].T
    return Events(t=t, x=x.astype(np.int16), y=y.astype(np.int16), p=p.astype(np.uint8), sensor=sensor)

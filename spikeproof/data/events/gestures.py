"""How are the labelled gestures of a DVS128 Gesture recording read?"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.aedat import DVS128, read_aedat
from spikeproof.data.events.streams import Events

TITLE = "class,startTime_usec,endTime_usec"
CLASSES = 11


def read_gestures(path: Path | str, *, repair: bool = False) -> list[tuple[Events, int]]:
    """The gestures of `user01_lab.aedat`, say, in the order of `user01_lab_labels.csv` beside it; labels are 0 to 10.

    A gesture is the events from its start on and before its end; times are those of the whole recording. Gestures may
    overlap, as some of the published ones do. Raises `UserError` for all that `read_events` does, for lines that are
    none of labels and for a gesture without events; with `repair` these are left out.
    Source: Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017.
    """
    path = Path(path)
    labels = _beside(path)
    intervals = list(_intervals(labels, repair=repair))
    events = read_aedat(path, DVS128, repair=repair)
    gestures = []
    for number, label, start, end in intervals:
        first, last = np.searchsorted(events.t, [start, end])
        if first < last:
            gestures.append((events.where(np.arange(first, last)), label))
        elif not repair:
            raise UserError(f"{labels}: line {number}: {path.name} has no events from {start} to {end} us")
    if not gestures:
        raise UserError(f"{labels}: there are no gestures")
    return gestures


def labels_of(path: Path | str, *, repair: bool = False) -> list[int]:
    """The labels, 0 to 10, of the gestures of a recording, in their order, from the file beside it alone.

    Raises `UserError` for lines that are none of labels; with `repair` these are left out.
    """
    return [label for _, label, _, _ in _intervals(_beside(Path(path)), repair=repair)]


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}_labels.csv")


def _intervals(path: Path, *, repair: bool) -> Iterator[tuple[int, int, int, int]]:
    """The number of the line, the label from 0, the start and the end in us, of each line."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; the labels of a recording lie beside it")
    title, *lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines() or [""]
    if title.strip() != TITLE:
        raise UserError(f"{path}: its first line is {title[:50]!r}, not {TITLE!r}")
    for number, line in enumerate(lines, start=2):
        found = re.fullmatch(r"(\d{1,18}),(\d{1,18}),(\d{1,18})", line.strip(), re.ASCII)
        kind, start, end = map(int, found.groups()) if found else (0, 0, 0)
        if 1 <= kind <= CLASSES and start < end:
            yield number, kind - 1, start, end
        elif line.strip() and not repair:
            raise UserError(
                f"{path}: line {number}: {line[:50]!r} is no class from 1 to {CLASSES}, start and later end in us"
            )

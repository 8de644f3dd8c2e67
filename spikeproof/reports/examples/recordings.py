"""What did the network see of recordings before and after the attack, and which events were changed?"""

from dataclasses import dataclass

import numpy as np

from spikeproof.reports.examples import surfaces
from spikeproof.reports.examples.animations import animation
from spikeproof.reports.examples.event_counts import Touched, touched
from spikeproof.reports.examples.event_rasters import EventRaster, event_raster
from spikeproof.reports.examples.pictures import MOST_PICTURES, as_uri, outcome, said
from spikeproof.reports.wording import NARROW, grouped, percent

WHOLE = ("Events before", "after", "added", "removed", "moved", "touched, of those before")
IN_FRACTIONS = (
    "Events before",
    "after",
    "Cells changed",
    "of all cells",
    "Change in all, events",
    "upwards",
    "downwards",
)


@dataclass(frozen=True)
class Recording:
    """One recording, what it shows and what the network says; pictures are data URIs.

    `clean` and `adversarial` are time surfaces, `change` is what was added and removed, `moving` the frames in turn.
    """

    truth: str
    before: str
    after: str
    clean: str
    adversarial: str
    change: str
    moving: str
    events: EventRaster
    touched: Touched

    @property
    def outcome(self) -> str:
        return outcome(self.truth, self.before, self.after)


@dataclass(frozen=True)
class Recordings:
    """`whole` says whether all are whole events, `binary` whether a cell has one at most; `tau` is in frames.

    `polarities` are 1 or 2, `most` is the change that is brightest; `joined` says whether a sensor is so large that its
    pictures join pixels.
    """

    threat: str
    whole: bool
    most: float
    tau: float
    polarities: int
    joined: bool
    binary: bool
    shown: list[Recording]

    @property
    def colours(self) -> dict[str, surfaces.Colour]:
        return {"off": surfaces.OFF, "on": surfaces.ON, "added": surfaces.ADDED, "removed": surfaces.REMOVED}

    @property
    def headings(self) -> tuple[str, ...]:
        return WHOLE if self.whole else IN_FRACTIONS

    def cells(self, one: Recording) -> list[str]:
        """The row under `headings`."""
        found = one.touched
        if self.whole:
            share = "–" if found.share is None else percent(found.share)
            return [grouped(n) for n in (found.before, found.after, found.added, found.removed, found.moved)] + [share]
        sums = [_in_tenths(number) for number in (found.gained + found.lost, found.gained, found.lost)]
        ends = [_in_tenths(found.before), _in_tenths(found.after)]
        return [*ends, grouped(found.cells), percent(found.share_of_cells), *sums]

    def heard(self, one: Recording) -> str:
        """What was done to one of them, in words."""
        found = one.touched
        if self.whole:
            number = f"{grouped(found.added)} added, {grouped(found.removed)} removed and {grouped(found.moved)} moved"
            return f"{number}, of {grouped(found.before)} events"
        total = _in_tenths(found.gained + found.lost)
        return f"{grouped(found.cells)} of {grouped(found.of_cells)} cells changed, by {total} events in all"


def recordings(arrays: dict[str, np.ndarray]) -> Recordings:
    """The first recordings of examples.npz: clean, adversarial [M, T, P, H, W], numbers of events, and predictions."""
    clean, adversarial = arrays["clean"][:MOST_PICTURES], arrays["adversarial"][:MOST_PICTURES]
    if clean.shape != adversarial.shape or not (np.isfinite(clean).all() and np.isfinite(adversarial).all()):
        raise ValueError(f"recordings {clean.shape} and {adversarial.shape} are finite, and of one shape")
    maps = [surfaces.changed(*pair) for pair in zip(clean, adversarial, strict=True)]
    most = max((float(part.max(initial=0)) for both in maps for part in both), default=0) or 1.0
    shown = [
        Recording(
            *names,
            clean=as_uri(surfaces.visible(surfaces.surface(before))),
            adversarial=as_uri(surfaces.visible(surfaces.surface(after))),
            change=as_uri(surfaces.visible(surfaces.change(*both, most))),
            moving=animation(before, after),
            events=event_raster(before, after),
            touched=touched(before, after),
        )
        for names, before, after, both in zip(said(arrays), clean, adversarial, maps, strict=True)
    ]
    return Recordings(
        threat=str(arrays["threat"]),
        whole=bool((clean == clean.round()).all() and (adversarial == adversarial.round()).all()),
        most=most,
        tau=surfaces.tau(clean.shape[1]),
        polarities=clean.shape[2],
        joined=max(clean.shape[3:]) > surfaces.SIDE,
        binary=bool(np.isin(clean, (0, 1)).all() and np.isin(adversarial, (0, 1)).all()),
        shown=shown,
    )


def _in_tenths(number: float) -> str:
    return f"{number:,.1f}".replace(",", NARROW)

"""How may frames change whose values are real numbers, as those of images are? The same balls in a box of counts."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from spikeproof.attacks.boxes import Box, CountBox
from spikeproof.attacks.threats import L2, Ball, Linf
from spikeproof.choices import Above, Pixels

__all__ = ["FrameL2", "FrameLinf"]

Most = Annotated[float, Above(0)] | None


class FrameBall(Ball):
    """A ball in event frames of counts from 0 to `most` (None: the recording's own largest), `eps` in events."""

    most: Most
    kind: ClassVar[str] = "frames"
    largest: ClassVar[float] = 1e6

    @property
    def box(self) -> Box:
        return CountBox(self.most)

    def __str__(self) -> str:
        return f"frame {self.norm} {self.eps:g}{self.box}"


@dataclass(frozen=True)
class FrameLinf(FrameBall, Linf):
    """Every cell of every frame may change by `eps` events, fractions too, between 0 and `most`."""

    eps: Pixels = 1.0
    most: Most = None


@dataclass(frozen=True)
class FrameL2(FrameBall, L2):
    """The change of all cells of all frames has Euclidean length at most `eps`; values stay between 0 and `most`."""

    eps: Pixels = 5.0
    most: Most = None

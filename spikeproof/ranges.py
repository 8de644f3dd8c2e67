"""Which numbers may a field hold? Conditions for `Annotated`, which say themselves in words, and the usual ones."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class AtLeast:
    """Numbers from `least` on."""

    least: float

    def allows(self, number: float) -> bool:
        return number >= self.least

    def __str__(self) -> str:
        return f"from {self.least:g} on"


@dataclass(frozen=True)
class Above:
    """Numbers above `low`."""

    low: float

    def allows(self, number: float) -> bool:
        return number > self.low

    def __str__(self) -> str:
        return f"above {self.low:g}"


@dataclass(frozen=True)
class Within:
    """Numbers between `low` and `high`; a round bracket in `ends` leaves out its end, as in mathematics."""

    low: float
    high: float
    ends: Literal["[]", "[)", "(]", "()"] = "[]"

    def allows(self, number: float) -> bool:
        above = number >= self.low if self.ends[0] == "[" else number > self.low
        return above and (number <= self.high if self.ends[1] == "]" else number < self.high)

    def __str__(self) -> str:
        return f"in {self.ends[0]}{_number(self.low)}, {_number(self.high)}{self.ends[1]}"


class InPixels(AtLeast):
    """Lengths in pixel units, from 0 on; they may be written as a fraction."""

    def __str__(self) -> str:
        return f"{super().__str__()} (write 8/255 or 0.031)"


class InEvents(InPixels):
    """Whole numbers of events, from 0 on; they may be written as a text, as pixel sizes may."""

    def __str__(self) -> str:
        return AtLeast.__str__(self)


Count = Annotated[int, AtLeast(1)]
Steps = Annotated[int, Within(1, 10_000)]  # of time: each takes the memory of all activations
Seed = Annotated[int, AtLeast(0)]
Share = Annotated[float, Within(0, 1)]
Positive = Annotated[float, Above(0)]
NonNegative = Annotated[float, AtLeast(0)]
Pixels = Annotated[float, InPixels(0)]
EventCount = Annotated[int, InEvents(0)]


def _number(value: float) -> str:
    return "inf" if value == math.inf else f"{value:g}"

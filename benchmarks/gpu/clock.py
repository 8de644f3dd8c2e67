"""How much time is left? For all of it, and for the part that is running."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


class OutOfTime(Exception):
    """The part that is running has had its time."""


@dataclass
class Clock:
    """Counts from when it is made. All has to end after `seconds`, and the part that is running at `deadline`."""

    seconds: float
    now: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.now()
        self.deadline = self.seconds

    @property
    def passed(self) -> float:
        """Seconds since it was made."""
        return self.now() - self.started

    @property
    def left(self) -> float:
        """Seconds until the part that is running has to end."""
        return self.deadline - self.passed

    def check(self, *_: object) -> None:
        """Raise `OutOfTime` where none is left; takes what a progress report is called with."""
        if self.left <= 0:
            raise OutOfTime

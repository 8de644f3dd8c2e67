"""How does long work show that it goes on? A bar on a terminal, lines in a log, both on stderr, or not at all."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, float, float], None]  # what is going on, how much is done, of how much

EVERY = 30.0  # seconds after which a log gets a line, whatever is done
SELDOM = 1.0  # seconds between two looks into one long attack


def silent(what: str, done: float, of: float) -> None:
    """Reports to no one."""


@contextmanager
def shown(progress: Report | None, title: str) -> Iterator[Report]:
    """`progress` itself, or, where that is None, a bar or lines under a `title`."""
    if progress is not None:
        yield progress
        return
    with bar(title) as report:
        yield report


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A progress bar in the terminal, which the yielded function moves; lines where there is no terminal to draw on."""
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True, emoji=False)
    columns = (
        TextColumn("{task.fields[title]}", style="bold", markup=False),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
    )
    progress = Progress(*columns, console=console, expand=True)
    try:
        if console.is_terminal:
            progress.start()
    except LiveError:  # whoever called draws on the terminal already
        console = Console(file=sys.stderr, force_terminal=False)
    if not console.is_terminal:
        with lines(title) as report:
            yield report
        return
    pace, task = Pace(), progress.add_task("", title=title, left="", total=None)

    def move(what: str, done: float, of: float) -> None:
        pace.note(done, of)
        progress.update(task, description=what, completed=done, total=of, left=pace.left)

    try:
        yield move
    finally:
        progress.stop()


@contextmanager
def lines(title: str) -> Iterator[Report]:
    """A line for each whole unit, and one every 30 s: for a log, and where several processes share a terminal."""
    pace, printed, last = Pace(), 0, time.monotonic()

    def report(what: str, done: float, of: float) -> None:
        nonlocal printed, last
        if pace.note(done, of):
            printed = 0
        if int(done) > printed or time.monotonic() - last > EVERY:
            printed, last = int(done), time.monotonic()
            times = ", ".join(filter(None, (spoken(pace.elapsed), pace.left)))
            print(f"{title}: {done:.3g}/{of:g} {what} ({times})", file=sys.stderr, flush=True)

    yield report


class Pace:
    """How long work has taken, and how long it will take if it goes on as fast."""

    def __init__(self) -> None:
        self.started = self.since = time.monotonic()
        self.first: float | None = None  # how much was done when this work began, or began anew
        self.done = self.of = 0.0

    def note(self, done: float, of: float) -> bool:
        """How much is done now; whether this is work of another kind than before, which is counted from its begin."""
        another = self.first is None or done < self.done or of != self.of
        if another:
            self.first, self.since = done, time.monotonic()
        self.done, self.of = done, of
        return another

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    @property
    def left(self) -> str:
        """In words; empty while that cannot be told."""
        more, took = self.done - (self.first or 0.0), time.monotonic() - self.since
        if more <= 0 or self.done >= self.of or took < 1:
            return ""
        return f"about {spoken((self.of - self.done) * took / more)} left"


def spoken(seconds: float) -> str:
    """A duration as one says it: 40 s, 3 min, 2 h 10 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def seldom(tell: Callable[[float], None]) -> Callable[[Callable[[], float]], None]:
    """`tell` of what is asked, at most once a second: to look how far an attack is makes it wait for its device."""
    last = time.monotonic()

    def watch(share: Callable[[], float]) -> None:
        nonlocal last
        if time.monotonic() - last > SELDOM:
            last = time.monotonic()
            tell(share())

    return watch

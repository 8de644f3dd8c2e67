"""How does long work show that it goes on?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, float, float], None]  # what is going on, how much is done, of how much


def silent(what: str, done: float, of: float) -> None:
    """Reports to no one."""


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A progress bar in the terminal, which the yielded function moves; a line for each whole unit in a log."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[title]}", style="bold", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns) as progress:
        if not progress.console.is_terminal:
            progress.stop()
            with lines(title) as report:
                yield report
            return
        task = progress.add_task("", title=title, total=None)
        yield lambda what, done, of: progress.update(task, description=what, completed=done, total=of)


@contextmanager
def lines(title: str) -> Iterator[Report]:
    """A line for each whole unit: for a log, and where several processes share a terminal."""
    printed = [0]

    def report(what: str, done: float, of: float) -> None:
        if int(done) > printed[0]:
            printed[0] = int(done)
            print(f"{title}: {int(done)}/{of:g} {what}", flush=True)

    yield report


@contextmanager
def hushed(title: str) -> Iterator[Report]:
    """No progress is shown."""
    yield silent

"""How is a run kept from two writers? By a lock on a file in its folder; the system frees it when its holder dies."""

import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from spikeproof.choices import UserError
from spikeproof.runs import Run
from spikeproof.untrusted.texts import Unreadable, json_in
from spikeproof.untrusted.words import brief, printable

LOCK = ".lock"


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """This process alone writes into `run` inside the block; a folder that stays empty is taken away again.

    Raises `UserError` that names the process which writes there. One that was killed holds no lock: the system has
    freed it. Where the system has no such locks, or the folder cannot be written to, nothing is locked.
    """
    new = [path for path in (run.path, *run.path.parents) if not path.exists()]
    with suppress(OSError):
        run.path.mkdir(parents=True, exist_ok=True)
    file = _taken(run)
    try:
        yield
    finally:
        if file is not None:
            (run.path / LOCK).unlink(missing_ok=True)  # while it is held: the next writer makes its own
            file.close()
        with suppress(OSError):  # what is not empty stays
            for path in new:
                path.rmdir()


def sweep(run: Run, left: Iterable[Path]) -> None:
    """Takes away what a process left that was killed after its last result: the files `left`, and its lock.

    Nothing is taken away while another process writes into `run`.
    """
    left = list(left)
    if left or LOCK in run:
        with suppress(UserError), locked(run):
            for file in left:
                file.unlink(missing_ok=True)


def _taken(run: Run) -> IO[str] | None:
    """The file that this process has locked; None where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    while True:
        try:
            file = (run.path / LOCK).open("a+", encoding="utf-8")
        except OSError:
            return None  # whoever writes will say why that cannot be
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            with file:
                raise _busy(run, file) from error
        except OSError:  # a file system without locks
            file.close()
            return None
        if _is_at(file, run.path / LOCK):
            break
        file.close()  # its holder took it away between these lines
    file.truncate(0)
    file.write(json.dumps({"process": os.getpid(), "machine": socket.gethostname()}))
    file.flush()
    return file


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _busy(run: Run, file: IO[str]) -> UserError:
    file.seek(0)
    said = ""
    with suppress(Unreadable, TypeError, KeyError, OSError):
        holder = json_in(file.read(1000))
        said = f", {holder['process']} on {holder['machine']}"
    return UserError(
        f"another process{printable(brief(said))} writes into {run.path}: wait for its end, or name another folder"
    )

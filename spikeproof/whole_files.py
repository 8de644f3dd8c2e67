"""How does a file appear whole or not at all, and what is its digest? It is written beside its place, and renamed."""

import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows, where nothing is locked and so nothing swept
    fcntl = None  # type: ignore[assignment]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes the place of `path` only if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    temporary = Path(name)
    try:
        with suppress(OSError):  # of a file system without locks
            _lock(handle)  # while it is held nobody sweeps the file away
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what writers of `path` have left that were killed: nobody holds its lock any more."""
    if fcntl is None:
        return
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????{glob.escape(path.suffix)}"):
        with suppress(OSError), left.open("rb") as stream:
            _lock(stream)
            left.unlink()


def _lock(file: Any) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

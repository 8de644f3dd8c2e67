"""How is a process asked that may never answer? With a time limit; then it is ended, and the file is named."""

import json
import os
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from spikeproof.choices import UserError
from spikeproof.untrusted.words import brief, printable

HERE = Path(__file__).parent  # of the programs, which are not imported: their libraries are extras
SECONDS = 60.0  # for one answer: a recording takes a millisecond, and h5py starts in less than a second
LINE = 1 << 16  # bytes that an answer has before its array


class Asked:
    """Reads parts `names` of a file in a process of its own, which starts with the first question.

    `library` is what reads there, by the program ``hdf5_reader.py`` or another one, and `what` the file should be.
    After a fork each process has its own. Raises `UserError` that names the file if there is no answer, or an error.
    """

    def __init__(
        self,
        path: Path,
        names: tuple[str, ...],
        *,
        program: str = "hdf5_reader.py",
        library: str = "h5py",
        what: str = "HDF5 file",
    ) -> None:
        self.path, self.names, self.program, self.library, self.what = path, names, program, library, what
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = 0

    def about(self) -> dict[str, Any]:
        """Which of the names are there (`absent` are not), their `shapes` and `types`."""
        said, _ = self._answer("about")
        return said

    def rows(self, name: str, row: int | None = None) -> np.ndarray:
        """A row of a data set; None is all of it."""
        return self.array(f"{self.names.index(name)} {'all' if row is None else row}")

    def array(self, question: str) -> np.ndarray:
        """The array that a question is answered with."""
        said, content = self._answer(question)
        found: np.ndarray = np.frombuffer(content, np.dtype(said["type"])).reshape(said["shape"])
        return found

    def _answer(self, question: str) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            process, asked = self._started(), time.monotonic()
            alarm = threading.Timer(SECONDS, process.kill)  # the pipe ends with the process
            alarm.daemon = True
            alarm.start()
            try:
                return _told(process, question)
            except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
                _end(process, self._starter)
                self._process = None
                late = time.monotonic() - asked >= SECONDS
                said = f"{self.library} crashes" if isinstance(error, OSError | EOFError) else str(error)
                raise self._damaged(f"{self.library} reads for more than {SECONDS:g} s" if late else said) from error
            finally:
                alarm.cancel()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._starter != os.getpid():
            path = os.pathsep.join(filter(None, sys.path))
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(HERE / self.program), str(self.path), *self.names],
                env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},  # whose memory counts
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._starter = os.getpid()
            weakref.finalize(self, _end, self._process, self._starter)
        return self._process

    def _damaged(self, said: str) -> UserError:
        return UserError(f"{self.path}: truncated, damaged or no {self.what}: {printable(brief(said))}")


def _told(process: "subprocess.Popen[bytes]", question: str) -> tuple[dict[str, Any], bytes]:
    """What the process says, and the bytes of its array."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{question}\n".encode())
    process.stdin.flush()
    if not (line := process.stdout.readline(LINE)):
        raise EOFError
    said = json.loads(line)
    if "error" in said:
        raise ValueError(said["error"])
    content = process.stdout.read(said["bytes"])
    if len(content) < said["bytes"]:
        raise EOFError
    return said, content


def _end(process: "subprocess.Popen[bytes]", starter: int) -> None:
    """End the process, unless it is that of another one, from which this one was forked."""
    if os.getpid() != starter:
        return
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what was left to send
                stream.close()

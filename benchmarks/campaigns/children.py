"""How is something tried that may crash, hang or fill the memory? In a fork of this process, with limits."""

import os
import pickle
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

GIB = 2**30


class End(NamedTuple):
    """How a child ended: its exit status (a negative number is a signal), what it said, and whether it was too slow."""

    status: int
    said: str
    slow: bool

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.said


def tried(call: Callable[[], Any], seconds: float, memory: float = 8.0) -> tuple[End, Any]:
    """`call` in a fork with `seconds` and `memory` more GiB than this process has: how it ended, and what it returned.

    What it writes to the standard streams is what was said; it returns something that can be pickled.
    """
    reading, writing = os.pipe()
    said, saying = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading), os.close(said)
        _in_child(call, writing, saying, memory)
    os.close(writing), os.close(saying)
    parts, slow = _read({reading: b"", said: b""}, child, seconds)
    _, status = os.waitpid(child, 0)
    os.close(reading), os.close(said)
    returned = pickle.loads(parts[reading]) if parts[reading] and not slow else None
    return End(os.waitstatus_to_exitcode(status), parts[said].decode(errors="replace"), slow), returned


def _in_child(call: Callable[[], Any], writing: int, saying: int, memory: float) -> None:
    status = 1
    try:
        os.dup2(saying, 1), os.dup2(saying, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + int(memory * GIB)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        returned = call()
        with os.fdopen(writing, "wb") as stream:
            pickle.dump(returned, stream)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def _read(parts: dict[int, bytes], child: int, seconds: float) -> tuple[dict[int, bytes], bool]:
    end, slow = time.monotonic() + seconds, False
    with selectors.DefaultSelector() as waiting:
        for pipe in parts:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            if not slow and time.monotonic() > end:
                slow = True
                os.kill(child, signal.SIGKILL)
            for key, _ in waiting.select(0.2):
                piece = os.read(key.fd, 2**16)
                parts[key.fd] += piece
                if not piece:
                    waiting.unregister(key.fd)
    return parts, slow

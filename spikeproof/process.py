"""What is a process told before torch is loaded? How its threads wait, and what becomes of memory that it frees.

Commands and tests are such processes; who imports spikeproof as a library decides for their own.
"""

import ctypes
import os

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # the numbers of mallopt's parameters in glibc's malloc.h
SAYS = ("MALLOC_", "GLIBC_TUNABLES")  # how a user decides about memory: the beginnings of these variables' names


def prepare() -> None:
    """Let threads that wait leave their core to others, and keep freed memory, unless the environment says otherwise.

    Threads of small networks wait for each other often. Has each its own core, it matters little how; on a busy machine
    two that wait in a loop keep each other from working. OpenMP reads the environment once, when torch loads it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if not any(name.startswith(SAYS) for name in os.environ):
        keep_freed_memory()


def keep_freed_memory() -> bool:
    """Tells glibc not to hand freed blocks back to the kernel; returns whether it listened.

    Otherwise every large tensor is new memory, and each of its pages is faulted in.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))

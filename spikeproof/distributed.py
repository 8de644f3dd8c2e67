"""How do several processes work as one? Each is a rank: torchrun starts them, and here they find each other.

``torchrun --nproc-per-node 8 -m spikeproof COMMAND ...`` starts eight ranks on a machine. All run the same program and
make the same calls here in the same order. One process without torchrun is `ALONE`, and nothing is sent anywhere.
"""

import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from spikeproof.choices import UserError

__all__ = ["ALONE", "Ranks", "joined"]

Thing = TypeVar("Thing")

PATIENCE = timedelta(days=30)  # ranks may wait hours for the slowest; one that dies closes its connections at once
STOPPED, SAID = "stopped", "said "  # where a rank that fails writes why, and that somebody has printed it
LOST = (
    "another rank was lost: it was killed, it ran out of memory, or its machine is gone. "
    "What was finished is kept: the same command goes on"
)


@dataclass(frozen=True)
class Ranks:
    """The processes that work together: this one is `rank`, from 0 to `size` - 1, and the `local`-th of its machine.

    `local` is None without torchrun. What is sent goes to all; one that is gone raises `UserError` in the others.
    """

    rank: int = 0
    size: int = 1
    local: int | None = None
    store: Any = None  # a key-value store that all see

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and speaks for all."""
        return self.rank == 0

    def __deepcopy__(self, memo: object) -> "Ranks":
        return self  # a copy of a network is on the same ranks

    def alone(self) -> "Ranks":
        """This process by itself, on the same device."""
        return replace(self, rank=0, size=1)

    def device_of(self, name: str | torch.device | None = None) -> torch.device:
        """The device of that name; under torchrun ``cuda`` is a GPU of this rank's own. None: cuda where there is one.

        Raises `UserError` for a device that is not here, and where a machine has more ranks than GPUs.
        """
        name = name or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(name)
            if device.type == "cuda":
                device = self._own(device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"there is no device {str(name)!r} here ({_short(error)}); cpu always is") from error
        return device

    def _own(self, device: torch.device) -> torch.device:
        if not torch.cuda.is_available():
            raise UserError(
                f"there is no device {str(device)!r} here: torch {torch.__version__} sees no CUDA GPU; cpu always is"
            )
        if self.local is None or (self.size == 1 and device.index is not None):
            return device
        if device.index not in (None, self.local):
            raise UserError(f"each rank takes a GPU of its own: say cuda, not {device}")
        if self.local >= (count := torch.cuda.device_count()):
            raise UserError(f"{self.local + 1} ranks need as many GPUs, and here are {count}: --nproc-per-node {count}")
        return torch.device("cuda", self.local)

    def gather(self, thing: Thing) -> list[Thing]:
        """What every rank has, in the order of the ranks."""
        if self.size == 1:
            return [thing]
        found: list[Any] = [None] * self.size
        with self._together():
            dist.all_gather_object(found, thing)
        return found

    def of_first(self, compute: Callable[[], Thing]) -> Thing:
        """What rank 0 computes; the others wait for it."""
        if self.size == 1:
            return compute()
        found: list[Any] = [compute() if self.first else None]
        with self._together():
            dist.broadcast_object_list(found, src=0)
        return found[0]

    def each(self, *tasks: Callable[[], Any]) -> list[Any]:
        """What the tasks give; rank 0 does the first while rank 1 does the second, and so on."""
        mine = {number: tasks[number]() for number in range(self.rank, len(tasks), self.size)}
        found = {number: result for told in self.gather(mine) for number, result in told.items()}
        return [found[number] for number in range(len(tasks))]

    def wait(self) -> None:
        """Until all ranks are here."""
        self.gather(None)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all ranks' tensors of this shape, in place; on a GPU by NCCL."""
        if self.size > 1:
            with self._together():
                dist.all_reduce(tensor)
        return tensor

    def dealt(self, indices: Tensor, batch: int, *, whole: bool = False) -> list[Tensor]:
        """This rank's share of `indices` ``[N]``, in batches.

        They are dealt one by one, as cards are. If `whole`, the batches are those of one process, and they are dealt:
        for what depends on the batch.
        """
        cards = indices.split(batch) if whole else indices
        mine = cards[self.rank :: self.size]
        batches = mine.split(batch) if isinstance(mine, Tensor) else mine
        return [each for each in batches if len(each)]  # torch splits nothing into one batch of nothing

    def turns(self, count: int, what: str) -> Iterator[int]:
        """Numbers below `count`; each goes to the rank that is free first, and to no other."""
        if self.size == 1:
            yield from range(count)
            return
        self.of_first(lambda: self.store.set(what, "0"))
        while True:
            with self._together():
                number = self.store.add(what, 1) - 1
            if number >= count:
                return
            yield number

    def agree(self, facts: Mapping[str, str]) -> None:
        """Raise `UserError` in all ranks, naming them and what differs, unless all know the same `facts`."""
        told = self.gather((socket.gethostname(), dict(facts)))
        (host, expected), *others = told
        for rank, (there, found) in enumerate(others, 1):
            if different := [name for name in expected if found.get(name) != expected[name]]:
                pairs = ", ".join(f"{name} {_cut(expected[name])} and {_cut(found.get(name))}" for name in different)
                raise UserError(
                    f"rank 0 ({host}) and rank {rank} ({there}) do not see the same: {pairs}. "
                    "Give all ranks the same files and versions"
                )

    def tell(self, error: BaseException) -> None:
        """Leave word for the others of why this rank stops."""
        known = isinstance(error, UserError)
        said = str(error) if known else f"{type(error).__name__}: {error}"
        with suppress(RuntimeError):  # the store is gone with torchrun itself
            self.store.compare_set(STOPPED, "", said)
            if not known:
                self.store.add(SAID + said, 1)  # by the traceback

    @contextmanager
    def _together(self) -> Iterator[None]:
        """What all ranks do together; where one is gone its reason is raised here too."""
        try:
            yield
        except RuntimeError as error:
            raise UserError(self._reason()) from error

    def _reason(self) -> str:
        with suppress(RuntimeError):
            if self.store.check([STOPPED]):
                return str(self.store.get(STOPPED).decode())
        return LOST


ALONE = Ranks()


@contextmanager
def joined(device: str | torch.device | None = None) -> Iterator[Ranks]:
    """The ranks that torchrun started, inside the block; `ALONE` without torchrun, and where it started one.

    `device` is what they will compute on: messages between GPUs go by NCCL, all others by Gloo. Raises `UserError` for
    a device that is not here, and for ranks of other versions. Where a block fails the other ranks learn why.
    """
    if not _several():
        ALONE.device_of(device)
        yield ALONE
        return
    import_module("torch.distributed.nn")  # loaded later, its defaults would hold the group: threads that never end
    store, rank, size = next(dist.rendezvous("env://"))
    ranks = Ranks(rank, size, int(os.environ["LOCAL_RANK"]), store)
    try:
        on = ranks.device_of(device)
        if on.type == "cuda":
            torch.cuda.set_device(on)
        backend = "cpu:gloo,cuda:nccl" if on.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        ranks.agree(_versions() | {"device": on.type})
        yield ranks
    except (Exception, KeyboardInterrupt) as error:
        ranks.tell(error)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def speaks_first() -> bool:
    """Whether this process prints what is no rank's own: rank 0 does, and a process without torchrun."""
    return not _several() or os.environ["RANK"] == "0"


def is_said(message: str) -> bool:
    """Whether another rank has printed this message before; from now on somebody has."""
    with suppress(RuntimeError):
        return _several() and bool(next(dist.rendezvous("env://"))[0].add(SAID + message, 1) > 1)
    return False


def _several() -> bool:
    """Whether torchrun started this process, among others."""
    return dist.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1"


def _versions() -> dict[str, str]:
    """What may change a number, and the code itself by a digest."""
    code = sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        code.update(file.read_bytes())
    found = {"Python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return found | {"spikeproof's code": code.hexdigest()}


def _cut(said: object) -> str:
    """Enough of a digest to tell two apart."""
    return str(said)[:12]


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0]

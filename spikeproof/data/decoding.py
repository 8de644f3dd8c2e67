"""How are images in files decoded by several processes, before the step that needs them?

torch's DataLoader does the work. A worker is given a few images at a time, not a whole batch: the first batch is there
sooner, and less lies in memory. What comes out does not depend on how many workers there are.
"""

import gc
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spikeproof.choices import UserError
from spikeproof.data.image_files import PixelsInFiles

PIECE = 16  # images that a worker is given at a time
AHEAD = 2  # pieces a worker may be ahead: 16 workers then hold 77 MB of images of 224 x 224 pixels
MOST = 16  # workers, where nobody says how many

Asked = tuple[list[int], int | None]  # rows, and the seed of their random crops


def workers_for(asked: int | None) -> int:
    """How many workers there are; where nobody `asked`, one a core but for the core that trains.

    Processes that torchrun started on this machine share its cores.

    Raises `UserError` for a number below 0.
    """
    if asked is not None and asked < 0:
        raise UserError(f"workers is a number of processes from 0 (decode in the main process) on, not {asked}")
    share = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST, share - 1)) if asked is None else asked


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Decoder:
    """Decodes images of `pixels` in `workers` processes (0: in threads of this one), ahead of who takes them.

    `pinned` puts them where an accelerator copies from without waiting. The processes stay until `close`.
    """

    def __init__(self, pixels: PixelsInFiles, workers: int, *, pinned: bool = False) -> None:
        self._asked: list[Asked] = []
        with _without_warnings():
            self._loader: DataLoader[Tensor | UserError] | None = DataLoader(
                _Pieces(pixels, threads=workers == 0),
                batch_size=None,  # a piece is a batch already
                sampler=self,
                num_workers=workers,
                persistent_workers=workers > 0,
                prefetch_factor=AHEAD if workers else None,
                generator=torch.Generator(),  # else it would draw from torch's own, and change what is drawn after
                pin_memory=pinned,
            )

    def __iter__(self) -> Iterator[Asked]:
        """What is to be decoded, piece by piece: the loader asks for it."""
        return iter(self._asked)

    def batches(self, rows: Sequence[Tensor], draw: int | None = None) -> Iterator[list[Tensor]]:
        """For each batch of `rows` [B] the bytes of its images, in their order: pieces, uint8 [b,H,W,C].

        Raises `UserError` that names the file which cannot be decoded. For workers that die, see `watched`.
        """
        if self._loader is None:
            raise RuntimeError("this decoder is closed")
        pieces = [list(batch.split(PIECE)) for batch in rows]
        self._asked = [(piece.tolist(), draw) for batch in pieces for piece in batch]
        with _without_warnings():
            found = iter(self._loader)
        for batch in pieces:
            yield [_next(found) for _ in batch]

    def close(self) -> None:
        """End the processes."""
        self._loader = None
        gc.collect()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Who asks for more workers than cores knows it. A fork does no harm: a worker calls Pillow and numpy alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")
        warnings.filterwarnings("ignore", ".* is multi-threaded, use of fork", DeprecationWarning)
        yield


@contextmanager
def watched() -> Iterator[None]:
    """A worker that dies inside the block is told as a `UserError`; torch raises it wherever the program is."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"a process that decodes images has died ({error}). Memory may be short, or that under /dev/shm: "
            "take fewer --workers"
        ) from error


def _next(found: Iterator[Tensor | UserError]) -> Tensor:
    piece = next(found)
    if isinstance(piece, UserError):
        raise piece
    return piece


class _Pieces(Dataset[Tensor | UserError]):
    """Decoded pieces. An error comes back as a value: the loader would bury it in a traceback."""

    def __init__(self, pixels: PixelsInFiles, threads: bool) -> None:
        self.pixels = pixels
        self.threads = threads

    def __getitem__(self, asked: Asked) -> Tensor | UserError:
        rows, draw = asked
        try:
            if not self.threads:
                return self.pixels.decoded(rows, draw)
            with ThreadPoolExecutor(max_workers=min(8, usable_cores())) as threads:
                return self.pixels.decoded(rows, draw, each=threads.map)
        except UserError as error:
            return error

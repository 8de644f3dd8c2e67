"""Which images does each step of an epoch see, and how do they get to the device?

Seed and epoch decide the order. Images that are held in memory move to the device once, as bytes, and every batch is
taken there. Others come batch by batch, those in files decoded ahead by other processes. The copy does not wait for
what the device computes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.data import Images
from spikeproof.data.decoding import Decoder, workers_for
from spikeproof.data.image_files import PixelsInFiles, as_pixels
from spikeproof.randomness import seed_from


class Share(NamedTuple):
    """What one of `processes` takes of every batch: every so many images, from number `rank` on.

    All take as many. So up to `processes` - 1 images are left out of the last batch of an epoch, others each time.
    """

    rank: int = 0
    processes: int = 1

    def of(self, batch: Tensor) -> Tensor:
        even = len(batch) // self.processes * self.processes
        return batch[self.rank : even : self.processes]


class Batches:
    """The batches of every epoch, on `device`; `share` says which part of each batch is taken here.

    Images in files are decoded by `workers` processes (None: one a core but one), which end with `close`.
    """

    def __init__(
        self,
        images: Images,
        *,
        size: int,
        seed: int,
        device: torch.device,
        workers: int | None = None,
        share: Share = Share(),
    ) -> None:
        workers = workers_for(workers)
        self.images = images.on(device)
        self.size = size
        self.seed = seed
        self.device = device
        self.share = share
        self.decoder: Decoder | None = None
        if isinstance(images.pixels, PixelsInFiles):
            self.decoder = Decoder(images.pixels, workers, pinned=device.type == "cuda")

    def __len__(self) -> int:
        """How many steps an epoch has; a last image alone has none, as batch norm needs two (on each rank)."""
        whole, rest = divmod(len(self.images), self.size)
        return whole + (rest >= 2 * self.share.processes)

    def of(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Images ``[B, C, H, W]`` and labels ``[B]`` for each step of `epoch`, from number `start` on."""
        mine = [self.share.of(batch) for batch in self._dealt(epoch)[start:]]
        if not mine:
            return
        if self.decoder is not None:
            yield from self._decoded(self.decoder, mine, seed_from(self.seed, epoch))
            return
        where = self.images.labels.device
        for indices in torch.cat(mine).to(where).split([len(batch) for batch in mine]):  # one copy an epoch
            x, y = self.images.take(indices)
            yield sent(x, self.device), sent(y, self.device)

    def close(self) -> None:
        """End the processes that decode."""
        if self.decoder is not None:
            self.decoder.close()

    def _decoded(self, decoder: Decoder, mine: list[Tensor], draw: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows = [self.images.rows[indices] for indices in mine]
        for indices, pieces in zip(mine, decoder.batches(rows, draw), strict=True):
            x = torch.cat([sent(piece, self.device) for piece in pieces])
            yield as_pixels(x), sent(self.images.labels[indices], self.device)

    def _dealt(self, epoch: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed_from(self.seed, epoch))
        order = torch.randperm(len(self.images), generator=generator)
        return list(order.split(self.size)[: len(self)])


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; the host does not wait until the copy is made."""
    if tensor.device.type == device.type or device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)

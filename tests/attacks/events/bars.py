"""Recordings of bars that move, and the choices of a network that tells whither."""

import torch
from torch import Tensor

from spikeproof.snn import MLP, Frames, Network

STEPS, SIDE = 5, 8
SHAPE = (STEPS, 2, SIDE, SIDE)
NETWORK = Network(architecture=MLP(hidden=(32,)), encoder=Frames())  # so small that nothing is compiled


def moving_bars(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Binary frames ``[count, 5, 2, 8, 8]`` of a bar that moves right, left, down or up, and which of these it is.

    Where it arrives there are events of polarity 1, where it was of polarity 0, and noise is everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(count, STEPS, 2, SIDE, SIDE, generator=generator) < 0.02).float()
    y, first = torch.arange(count) % 4, torch.randint(1, 3, (count,), generator=generator)
    for frames, whither, start in zip(x, y.tolist(), first.tolist(), strict=True):
        for t in range(STEPS):
            here = start + t if whither in (0, 2) else SIDE - 1 - start - t
            before = here - 1 if whither in (0, 2) else here + 1
            for polarity, place in ((1, here), (0, before)):
                picture = frames[t, polarity]
                (picture[:, place] if whither < 2 else picture[place])[1:-1] = 1
    return x, y

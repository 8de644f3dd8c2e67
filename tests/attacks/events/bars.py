"""Recordings of bars that move, and a network that tells whither."""

import torch
from torch import Tensor, nn

from spikeproof.snn import MLP, Frames, Network, SpikingNetwork

STEPS, SIDE = 5, 8
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


def network_for_bars() -> SpikingNetwork:
    """Trained on other bars than those of seeds 1 and 2, in eval mode."""
    x, y = moving_bars(240, seed=0)
    model = NETWORK.build((STEPS, 2, SIDE, SIDE), 4)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(2):
        for batch in torch.randperm(len(x), generator=shuffle).split(24):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    model.zero_grad()
    model.eval()
    test, labels = moving_bars(40, seed=2)
    with torch.no_grad():
        accuracy = (model(test).argmax(1) == labels).float().mean().item()
    assert accuracy > 0.9, f"an attack on a network that is wrong anyway shows nothing: accuracy {accuracy:.1%}"
    return model

"""Which ANN is converted, beside the trained one that all tests share? One of QCFS units."""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.data import Digits
from spikeproof.snn import QCFS, Network, SmallCNN, SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
SMALL = SmallCNN(widths=(8, 16, 16))  # the architecture of `trained_ann`


@pytest.fixture(scope="session")
def trained_qcfs(digits: Examples) -> SpikingNetwork:
    """An ANN of QCFS units with four levels that knows the digits, in eval mode; tests must leave it as it is."""
    x, y, *_ = digits
    network = Network(architecture=SMALL, neuron=QCFS(levels=4, bound=4.0), steps=1)
    model = network.build((1, 8, 8), 10, mean=Digits.mean, std=Digits.std, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(2):
        for batch in torch.randperm(len(x), generator=shuffle).split(30):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    model.zero_grad()
    return model.eval()

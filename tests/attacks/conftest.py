"""Which examples and networks do several attacks share?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spikeproof.data import Digits
from spikeproof.runs import Run
from spikeproof.runs.weights import write_model
from spikeproof.snn import Network, ReLU, SmallCNN, SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
Linear = tuple[nn.Module, Tensor, Tensor, Tensor]


@pytest.fixture(scope="session")
def digits(digits: Examples, device: torch.device) -> Examples:
    """Where the networks are: an attack moves nothing by itself."""
    x, y, test_x, test_y = (each.to(device) for each in digits)
    return x, y, test_x, test_y


@pytest.fixture(scope="session")
def batch(digits: Examples) -> tuple[Tensor, Tensor]:
    """The first test digits and their labels; tests must leave them as they are."""
    return digits[2][:30], digits[3][:30]


@pytest.fixture(scope="session")
def another_run(trained_ann: SpikingNetwork, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run folder of the trained ANN."""
    run = Run(tmp_path_factory.mktemp("another") / "run")
    network = Network(architecture=SmallCNN(widths=(8, 16, 16)), neuron=ReLU(), steps=1)
    write_model(run, trained_ann.state_dict(), network, (1, 8, 8), 10, Digits.mean, Digits.std)
    return str(run.path)


@pytest.fixture
def linear() -> Callable[[float], Linear]:
    """For a dual norm: a linear model of 5 classes, 20 images, their labels and known distances to the boundary."""

    def example(dual: float) -> Linear:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).double()
        x = 0.4 + 0.2 * torch.rand(20, 3, 2, 2, dtype=torch.float64)
        logits, weight = model(x).detach(), model[1].weight.detach()
        y = logits.argmax(1)
        margins = logits.gather(1, y.unsqueeze(1)) - logits
        known = margins / (weight[y].unsqueeze(1) - weight).norm(p=dual, dim=2)
        return model, x, y, known.scatter(1, y.unsqueeze(1), torch.inf).amin(1)

    return example

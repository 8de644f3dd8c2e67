"""What do many tests share? Small data and networks, the same in every run, and commands that have to be refused."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spikeproof.cli import main
from spikeproof.data import Digits
from spikeproof.snn import LIF, Network, Neuron, ReLU, SmallCNN, SpikingNetwork

BATCH = 30  # small enough for the eager kernels: compiling takes longer than all of the training

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def pytest_configure() -> None:
    # One: networks are small here, and the threads of two workers would wait for each other.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True)
def same_randomness() -> None:
    """What a test draws, the weights of a layer for example, is the same alone and among others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits() -> Examples:
    """Training images and labels, test images and labels of the handwritten digits."""
    train, test = Digits().part("train"), Digits().part("test")
    return *train.batch(range(len(train))), *test.batch(range(len(test)))


@pytest.fixture(scope="session")
def trained(digits: Examples) -> SpikingNetwork:
    """A spiking network that knows the digits, in eval mode; tests must leave it as it is."""
    return train_small(digits, LIF(), steps=4)


@pytest.fixture(scope="session")
def trained_ann(digits: Examples) -> SpikingNetwork:
    """The same network with ReLU in the neurons' place."""
    return train_small(digits, ReLU(), steps=1)


def train_small(digits: Examples, neuron: Neuron, steps: int) -> SpikingNetwork:
    x, y, x_test, y_test = digits
    network = Network(architecture=SmallCNN(widths=(8, 16, 16)), neuron=neuron, steps=steps)
    model = network.build((1, 8, 8), 10, mean=Digits.mean, std=Digits.std, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(2):
        for batch in torch.randperm(len(x), generator=shuffle).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    model.zero_grad()
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in x_test.split(BATCH)])
    accuracy = (predicted == y_test).float().mean().item()
    assert accuracy > 0.85, f"an attack on a network that is wrong anyway shows nothing: accuracy {accuracy:.1%}"
    return model


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that has to be refused; what it says."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error:")
        assert "Traceback" not in error
        return " ".join(error.split())

    return run

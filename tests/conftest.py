"""What do many tests share? Small data and networks, the same in every run, and commands that have to be refused."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikeproof.cli import main
from spikeproof.data import Digits
from spikeproof.snn import SpikingNetwork
from tests import trained as kept

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
def trained() -> SpikingNetwork:
    """A spiking network that knows the digits, in eval mode; tests must leave it as it is."""
    return kept.trained("digits_snn")


@pytest.fixture(scope="session")
def trained_ann() -> SpikingNetwork:
    """The same network with ReLU in the neurons' place."""
    return kept.trained("digits_ann")


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

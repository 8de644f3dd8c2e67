"""What do many tests share? Small data and networks, the same in every run, and commands that have to be refused.

`pytest --device cuda` runs on a GPU what makes sense there: all that uses `device` or a trained network.
`--device pretended` runs the same on a CPU that refuses what a GPU would (`tests/pretended.py`).

Spiking layers run eagerly here: to compile a kernel takes longer than nearly every test. Those that are about kernels,
or about verdicts where some batches pay for one, ask for `compiling_where_it_pays`.
"""

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from spikeproof.cli import main
from spikeproof.data import Digits
from spikeproof.process import prepare
from spikeproof.snn import SpikingNetwork, compiling
from tests import pretended
from tests import trained as kept

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help=f"where networks run: cpu, cuda, cuda:1 or {pretended.NAME}")


def pytest_configure(config: pytest.Config) -> None:
    prepare()
    os.environ.setdefault(compiling.SWITCH, "0")
    # One: networks are small here, and the threads of two workers would wait for each other.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    refuse_a_missing_device(config.getoption("device"))
    if not torch.cuda.is_available():
        pretended.declare()  # before the first backward: autograd counts the kinds of devices then


def refuse_a_missing_device(name: str) -> None:
    if name == pretended.NAME:
        return
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = "unknown"
    if kind not in ("cpu", "cuda"):
        raise pytest.UsageError(f"--device {name}: choose cpu, cuda, cuda:1 or {pretended.NAME}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError(f"--device {name}: there is no CUDA device here; cpu always is")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Where networks run, as `--device` says; a CPU unless it says otherwise."""
    name = request.config.getoption("device")
    if name != pretended.NAME:
        yield torch.device(name)
        return
    with pretended.pretended_device():
        yield torch.device(name)


@pytest.fixture(scope="module")
def compiling_where_it_pays() -> Iterator[None]:
    """Kernels are compiled as users have them, in this process and in those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(compiling.SWITCH)
        compiling.can_compile.cache_clear()
        yield
    compiling.can_compile.cache_clear()


@pytest.fixture(autouse=True)
def same_randomness() -> None:
    """What a test draws, the weights of a layer for example, is the same alone and among others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits() -> Examples:
    """Training images and labels, test images and labels of the handwritten digits; on the CPU, as data are read."""
    train, test = Digits().part("train"), Digits().part("test")
    return *train.batch(range(len(train))), *test.batch(range(len(test)))


@pytest.fixture(scope="session")
def trained(device: torch.device) -> SpikingNetwork:
    """A spiking network that knows the digits, in eval mode; tests must leave it as it is."""
    return kept.trained("digits_snn").to(device)


@pytest.fixture(scope="session")
def trained_ann(device: torch.device) -> SpikingNetwork:
    """The same network with ReLU in the neurons' place."""
    return kept.trained("digits_ann").to(device)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that has to be refused; what it says after its progress."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        assert stop.value.code == 2
        said = capsys.readouterr().err
        lines = said.splitlines()
        first = next((number for number, line in enumerate(lines) if line.startswith("error:")), None)
        assert first is not None, said
        assert "Traceback" not in said
        return " ".join(" ".join(lines[first:]).split())

    return run

"""Which recordings and networks do attacks on event frames share?"""

import pytest
from torch import Tensor

from spikeproof.runs import Run
from spikeproof.runs.weights import write_model
from spikeproof.snn import SpikingNetwork
from tests import trained as kept
from tests.attacks.events.bars import NETWORK, moving_bars


@pytest.fixture(scope="session")
def bars() -> tuple[Tensor, Tensor]:
    """Recordings that the network has not seen, and their labels; tests must leave them as they are."""
    return moving_bars(24, seed=1)


@pytest.fixture(scope="session")
def bar_network() -> SpikingNetwork:
    """A spiking network that knows the bars, in eval mode; tests must leave it as it is."""
    return kept.trained(kept.BARS)


@pytest.fixture(scope="session")
def bar_run(bar_network: SpikingNetwork, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run folder of that network."""
    run = Run(tmp_path_factory.mktemp("bars") / "run")
    write_model(run, bar_network.state_dict(), NETWORK, bar_network.shape, 4, (0.0, 0.0), (1.0, 1.0))
    return str(run.path)

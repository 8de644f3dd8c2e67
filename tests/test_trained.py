"""Do the networks that tests share know their task, with the weights that are kept and trained here and now?"""

from collections.abc import Callable

import pytest

from spikeproof.snn import SpikingNetwork
from tests.trained import BARS, DIGITS, accuracy, trained, trained_anew


@pytest.mark.parametrize("made", [trained, trained_anew])
@pytest.mark.parametrize("name", [*DIGITS, BARS])
def test_shared_networks_know_their_task(name: str, made: Callable[[str], SpikingNetwork]) -> None:
    """An attack on a network that is wrong anyway shows nothing."""
    model = made(name)
    assert accuracy(model, name) > (0.9 if name == BARS else 0.85)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())

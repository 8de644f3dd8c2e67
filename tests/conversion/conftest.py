"""Which ANN is converted, beside the trained one that all tests share? One of QCFS units."""

import pytest

from spikeproof.snn import SpikingNetwork
from tests import trained as kept


@pytest.fixture(scope="session")
def trained_qcfs() -> SpikingNetwork:
    """An ANN of QCFS units with four levels that knows the digits, in eval mode; tests must leave it as it is."""
    return kept.trained("digits_qcfs")

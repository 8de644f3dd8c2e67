"""What do the tests of red flags share? Images, and checks made with short climbs."""

import pytest

import spikeproof as sp
from spikeproof.evaluation.flags import trials


@pytest.fixture(scope="module")
def images(digits, device):
    return digits[2][:40].to(device), digits[3][:40].to(device)


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(trials, "STEPS", (5, 10, 20, 40))
    monkeypatch.setitem(trials.TOOLS, "images", trials.PIXELS._replace(control=sp.Square(queries=60)))

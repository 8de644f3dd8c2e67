"""How often is something read and hashed? No more than an evaluation needs."""

from collections import Counter

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.attacks import HopSkipJump
from spikeproof.evaluation.predictions import Given
from spikeproof.runs import Run

IMAGES = 300  # more than flags and the diagnosis look at
SUITE = sp.Suite(name="two", attacks=(sp.FGSM(), sp.PGD(steps=2, loss=sp.Margin())))


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


@pytest.fixture
def read(monkeypatch):
    """How often each image was read."""
    counts, original = Counter(), Given.batch

    def batch(self, indices):
        counts.update(indices.tolist())
        return original(self, indices)

    monkeypatch.setattr(Given, "batch", batch)
    return counts


def images():
    x = torch.rand(IMAGES, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return x, linear()(x).argmax(1)


def test_without_a_run_folder_images_are_read_once_for_predictions_and_once_an_attack(read, monkeypatch):
    monkeypatch.setattr("spikeproof.evaluation.ledger._bytes", lambda tensor: pytest.fail("hashed"))
    found = sp.evaluate(linear(), images(), sp.Protocol(threats=sp.Linf(0.01), suite=SUITE))
    assert found.robust_accuracy(0).value > 0.5
    late = [read[index] for index in range(256, IMAGES)]
    assert max(late) == 1 + len(SUITE.attacks)  # an image that one attack breaks is not read for the next
    assert max(read.values()) <= 4 + len(
        SUITE.attacks
    )  # the first ones are looked at by flags, twice, and the diagnosis


def test_a_run_folder_costs_one_more_look(read, tmp_path):
    sp.evaluate(linear(), images(), sp.Protocol(threats=sp.Linf(0.01), suite=SUITE), state=Run(tmp_path))
    assert max(read[index] for index in range(256, IMAGES)) == 2 + len(SUITE.attacks)


@pytest.mark.parametrize("kept", [False, True], ids=["no folder", "a folder"])
def test_the_network_of_a_transfer_is_read_once(kept, tmp_path, monkeypatch):
    loads = Counter()

    def loading(where):
        def load(file, *args, **kwargs):
            loads[where] += 1
            return linear()

        monkeypatch.setattr(f"spikeproof.{where}.load_model", load)

    for where in ("attacks.transfer", "evaluation.ledger"):
        loading(where)
    x, y = images()
    suite = sp.Suite(name="transfer", attacks=(sp.FGSM(), sp.Transfer(file="elsewhere", attack=sp.FGSM())))
    state = Run(tmp_path) if kept else None
    threats = [sp.Linf(0.01), sp.Linf(0.02), sp.Linf(0.03)]
    sp.evaluate(linear(), (x[:40], y[:40]), sp.Protocol(threats=threats, suite=suite), batch=8, state=state)
    assert loads == ({"attacks.transfer": 1, "evaluation.ledger": 1} if kept else {"attacks.transfer": 1})


class L3(sp.L2):
    norm = "L3"


@pytest.mark.parametrize(
    ("control", "threat"), [(HopSkipJump(), sp.L1(1.0)), (HopSkipJump(), L3(0.5)), (sp.Square(), L3(0.5))], ids=str
)
def test_a_control_refuses_a_norm_before_anything_has_run(control, threat, monkeypatch):
    with pytest.raises(sp.UserError, match=f"{type(control).__name__} knows the norms .*, not that of {threat}"):
        sp.Protocol(threats=threat, suite=sp.Suite(name="late", attacks=(sp.FGSM(), control)))

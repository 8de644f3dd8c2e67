"""Does `doctor --controls` tell networks that hide from honest ones, and say so when it does not?"""

import pytest

from spikeproof import controls
from spikeproof.attacks import FGSM, PGD
from spikeproof.cli import main
from spikeproof.evaluation import Suite


@pytest.fixture
def briefly(monkeypatch, trained):
    """The same network for all, a short suite, few controls."""
    monkeypatch.setattr(controls.Trained, "by", lambda self, *args: trained)
    short = Suite(name="short", attacks=(FGSM(), PGD(steps=5)))
    monkeypatch.setattr(controls, "suite_named", lambda name: short)
    names = ("plain training", "a detached input", "undeclared noise", "neurons that keep their state")
    monkeypatch.setattr(controls, "CONTROLS", tuple(c for c in controls.CONTROLS if c.name in names))


def test_they_are_told_apart(briefly, capsys):
    main(["doctor", "--controls"])
    told = capsys.readouterr().out
    assert "all 4 controls are told apart" in told
    assert "undeclared randomness" in told
    assert "robust" in next(line for line in told.splitlines() if "plain training" in line)


def test_a_control_that_is_missed_ends_with_its_name_and_status_2(briefly, monkeypatch, fails):
    missed = controls.Control("a network that hides nothing", False, controls.Trained.plain)
    monkeypatch.setattr(controls, "CONTROLS", (missed,))
    assert "wrong about 1 of 1 controls: a network that hides nothing" in fails("doctor", "--controls")


def test_each_hidden_network_is_built_from_the_plain_one(trained, digits, monkeypatch, tmp_path):
    monkeypatch.setattr(controls.Trained, "by", lambda self, *args: trained)
    x, y = digits[2][:40], digits[3][:40]
    for control in controls.CONTROLS:
        network = control.network(controls.Trained(tmp_path))
        right = (network(x).argmax(1) == y).float().mean()
        assert right > 0.7, control.name  # what hides still answers

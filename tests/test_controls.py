"""Does `doctor --controls` tell networks that hide from honest ones, and say so when it does not?"""

import pytest
import torch

from spikeproof import controls
from spikeproof.attacks import FGSM, PGD
from spikeproof.cli import main
from spikeproof.controls import judging
from spikeproof.evaluation import Suite


@pytest.fixture
def briefly(monkeypatch, trained):
    """The same network for all, a short suite, few controls."""
    monkeypatch.setattr(controls.Trained, "by", lambda self, *args: trained)
    short = Suite(name="short", attacks=(FGSM(), PGD(steps=5)))
    monkeypatch.setattr(judging, "suite_named", lambda name: short)
    names = ("plain training", "a detached input", "undeclared noise", "neurons that keep their state")
    monkeypatch.setattr(judging, "CONTROLS", tuple(c for c in controls.CONTROLS if c.name in names))


def test_they_are_told_apart(briefly, capsys):
    main(["doctor", "--controls"])
    told = capsys.readouterr().out
    assert "all 4 controls are told apart" in told
    assert "undeclared randomness" in told
    assert "robust" in next(line for line in told.splitlines() if "plain training" in line)


def test_a_control_that_is_missed_ends_with_its_name_and_status_2(briefly, monkeypatch, fails):
    missed = controls.Control("a network that hides nothing", False, controls.Trained.plain)
    monkeypatch.setattr(judging, "CONTROLS", (missed,))
    assert "wrong about 1 of 1 controls: a network that hides nothing" in fails("doctor", "--controls")


def test_each_hidden_network_is_built_from_the_plain_one(trained, digits, monkeypatch, tmp_path):
    monkeypatch.setattr(controls.Trained, "by", lambda self, *args: trained)
    x, y = digits[2][:32], digits[3][:32]  # as many as are judged at once
    for control in controls.CONTROLS:
        network = control.network(controls.Trained(tmp_path))
        with torch.no_grad():
            right = (network.eval()(x).argmax(1) == y).float().mean()
        assert right > 0.7, control.name  # what hides still answers


def test_there_are_as_many_as_it_takes():
    assert len(controls.HIDING) >= 20
    assert len(controls.HONEST) >= 12
    assert len({control.name for control in controls.CONTROLS}) == len(controls.CONTROLS)


DEARER = {  # seen by the attacks of `examined` images alone, or one flag of several
    "a slope far too narrow",
    "thresholds out of the slope's sight",
    "threshold guarding without adversarial training",
    "labels alone, a part of the gradient",
    "a gradient that is mirrored at a third of the pixels",
}
CHEAP = [control.name for control in controls.HIDING if control.name not in DEARER]


@pytest.mark.parametrize("name", CHEAP)
def test_even_the_cheapest_suite_sees_through_it(name, trained, monkeypatch, tmp_path):
    """Without an attack for flags' sake but the cheap ones."""
    monkeypatch.setattr(controls.Trained, "by", lambda self, *args: trained)
    control = next(control for control in controls.HIDING if control.name == name)
    suite = Suite(name="cheap", attacks=(PGD(steps=5),))
    found = controls.judged_by(suite, control, controls.Trained(tmp_path, "cpu"), images=40)
    assert found.verdicts.diagnosis.status in ("unreliable", "zero_gradient")
    assert control.flags
    assert set(control.flags) & {flag.key for flag in found.verdicts.flags if flag.raised}


@pytest.mark.parametrize(
    "name",
    [
        "plain training",
        "an early exit",
        "float64",
        "logits a million times as small",
        "logits of 1e30",
        "a blur in front",
    ],
)
def test_honest_networks_pass_the_cheapest_suite(name, trained, monkeypatch, tmp_path):
    monkeypatch.setattr(controls.Trained, "by", lambda self, *args: trained)
    control = next(control for control in controls.HONEST if control.name == name)
    suite = Suite(name="cheap", attacks=(PGD(steps=5),))
    found = controls.judged_by(suite, control, controls.Trained(tmp_path, "cpu"), images=40)
    assert found.right, found.verdicts.diagnosis.reason

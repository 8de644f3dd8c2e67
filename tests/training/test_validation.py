"""Does the validation of an epoch count as an evaluation does?"""

from types import SimpleNamespace

import torch.nn.functional as F

import spikeproof as sp
from spikeproof.training import validation
from tests.training.test_training_loop import recipe


def test_what_is_wrong_as_it_is_counts_as_wrong_under_attack(monkeypatch):
    """A network that calls dark images 0 and bright ones 1, and an attack that turns them round: it helps with ones."""
    bright = lambda model, x, **_: F.one_hot((x.flatten(1).mean(1) > 0.5).long(), 10)  # noqa: E731
    monkeypatch.setattr(validation, "predict", bright)
    monkeypatch.setattr(sp.Attack, "run", lambda self, model, x, *_, **__: SimpleNamespace(x=1 - x))
    model, part = recipe().build().eval(), recipe().data.part("validation")
    _, y = part.batch(list(range(48)))
    assert (y == 1).any()
    selection = sp.Selection(threat=sp.Linf(1.0), attack=sp.PGD(), images=48)
    assert validation.validate(model, part, selection, seed=0) == (0, int((y == 0).sum()) / 48)

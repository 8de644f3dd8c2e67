"""Votes over draws, and QTE, by hand."""

import pytest
import torch
from torch import nn

import spikeproof as sp


class Fickle(nn.Module):
    """Three passes, by turns: logits (1, 0), (1, 0), (0, 9). The mean says class 1, the vote says class 0."""

    stochastic = True

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        row = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 9.0]])[(self.calls - 1) % 3]
        return row.expand(len(x), -1) + 0 * x.flatten(1).sum(1, keepdim=True)


def test_a_vote_counts_passes_and_not_their_size():
    x = torch.rand(4, 1, 2, 2)
    assert sp.predict(Fickle(), x, draws=3).argmax(1).tolist() == [1] * 4
    votes = sp.predict(Fickle(), x, draws=3, vote=True)
    assert votes.argmax(1).tolist() == [0] * 4
    # two votes of three, and the mean probability of class 0 is (0.7311 + 0.7311 + 0.0001) / 3, of which 1/6 counts
    assert votes[0, 0].item() == pytest.approx(2 / 3 + 0.48744 / 6, abs=1e-4)


def test_mean_probabilities_break_a_tie():
    class Even(Fickle):
        def forward(self, x):
            self.calls += 1
            row = torch.tensor([[1.0, 0.0], [0.0, 2.0]])[(self.calls - 1) % 2]
            return row.expand(len(x), -1)

    assert sp.predict(Even(), torch.rand(2, 1, 2, 2), draws=2, vote=True).argmax(1).tolist() == [1, 1]


def test_a_suite_may_judge_by_vote_and_says_so():
    x, y = torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long)
    for judged_by, right in (("mean", 0.0), ("vote", 1.0)):
        suite = sp.Suite(name="one", attacks=(sp.FGSM(),), judged_by=judged_by)
        found = sp.evaluate(Fickle(), (x, y), sp.Protocol(threats=sp.Linf(0.1), suite=suite, draws=3))
        assert found.clean_accuracy().value == right
        assert found.summary()["suite"]["judged_by"] == judged_by
    with pytest.raises(sp.UserError, match="'mean' or 'vote'"):
        sp.Suite(name="one", attacks=(sp.FGSM(),), judged_by="show of hands")


def test_a_network_that_draws_nothing_is_asked_once_whatever_draws_say():
    model = sp.Network(architecture=sp.MLP(hidden=(4,)), steps=2).build((1, 2, 2), 3)
    x, y = torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long)
    assert sp.evaluate(model, (x, y), sp.Protocol(threats=sp.Linf(0.1), draws=8, suite="quick")).draws == 1


def test_qte_by_hand():
    assert sp.qte([0.1, 0.3], [0.8, 0.4]) == pytest.approx(0.2 * 0.6)
    assert sp.qte([0, 0.1, 0.3], [1.0, 0.8, 0.4]) == pytest.approx(0.1 * 0.9 + 0.2 * 0.6)
    for strengths, accuracies in (([0.1], [0.5]), ([0.1, 0.1], [1, 1]), ([0.3, 0.1], [1, 1]), ([0, 1], [1])):
        with pytest.raises(sp.UserError, match="QTE"):
            sp.qte(strengths, accuracies)


def test_verdicts_have_their_qte():
    model = sp.Network(architecture=sp.MLP(hidden=(8,)), neuron=sp.ReLU(), steps=1).build((1, 2, 2), 3)
    x = torch.rand(20, 1, 2, 2)
    y = model(x).argmax(1)
    found = sp.evaluate(model, (x, y), sp.Protocol(threats=[sp.Linf(0.1), sp.Linf(0.3)], suite="quick"))
    a, b = (found.robust_accuracy(i).value for i in (0, 1))
    assert found.qte() == pytest.approx(0.1 * (1 + a) / 2 + 0.2 * (a + b) / 2)
    assert found.summary()["qte"] == found.qte()

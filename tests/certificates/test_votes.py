"""The loop of votes: whose bound holds, and on what a count depends."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import spikeproof as sp
from benchmarks.soundness import coverage
from spikeproof.certificates.certification import STATES
from spikeproof.certificates.voting import BLOCK, least_n, lower_bound
from spikeproof.distributed import Ranks
from spikeproof.runs import Run


class HalfSpace(nn.Module):
    """Class 1 where the mean of the pixels is above 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        z = x.flatten(1).mean(1) - 0.5
        return torch.stack([-z, z], 1)


def greys(*means):
    return torch.tensor(means).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), torch.ones(len(means)).long()


X, Y = greys(0.4, 0.5, 0.6, 0.7, 0.9)
QUICK = sp.GaussianSmoothing(sigma=0.25, n=1200, first=50)


def test_the_bound_by_hand():
    assert lower_bound(100, 100, 0.001) == pytest.approx(0.001 ** (1 / 100))
    assert lower_bound(0, 100, 0.001) == 0
    assert lower_bound(1, 100, 0.001) == pytest.approx(1 - 0.999 ** (1 / 100))  # P(K >= 1) = alpha there
    # P(K >= 990 | n = 1000, p) = 0.001 at p = 0.97696, by summing the binomial in exact arithmetic
    p, n = lower_bound(990, 1000, 0.001), 1000
    tail = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(990, n + 1))
    assert tail == pytest.approx(0.001, rel=1e-6)


def test_the_bound_is_wrong_as_rarely_as_it_says():
    found = coverage(20_000)
    assert found.violations == 0
    assert found.closest >= 0


def test_radii_grow_with_votes_and_with_draws():
    bounds = [lower_bound(votes, 200, 0.001) for votes in range(201)]
    assert bounds == sorted(bounds)
    assert lower_bound(1000, 1000, 0.001) < lower_bound(10_000, 10_000, 0.001)
    assert lower_bound(90, 100, 0.001) < lower_bound(900, 1000, 0.001)
    assert lower_bound(90, 100, 0.001) < lower_bound(90, 100, 0.01)


def test_too_few_draws_are_refused_with_the_least_that_do():
    assert least_n(0.001) == 10
    sp.GaussianSmoothing(n=10)
    with pytest.raises(sp.UserError, match=r"n 9 is too small to certify anything at alpha 0.001.* from 10 on"):
        sp.GaussianSmoothing(n=9)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sigma": 0}, "sigma of GaussianSmoothing must be a .*in \\(0, 1\\]"),
        ({"sigma": -0.1}, "sigma of GaussianSmoothing must be"),
        ({"alpha": 0.5}, "alpha of GaussianSmoothing must be a number in \\(0, 0.5\\)"),
        ({"alpha": 0}, "alpha of GaussianSmoothing must be"),
        ({"n": 0}, "n of GaussianSmoothing must be"),
    ],
)
def test_numbers_out_of_range_are_refused(fields, said):
    with pytest.raises(sp.UserError, match=said):
        sp.GaussianSmoothing(**fields)


def test_what_is_found_is_what_is_true_of_a_half_space():
    found = sp.certify(HalfSpace(), (X, Y), QUICK)
    distance = (X.flatten(1).mean(1).numpy() - 0.5) * 2  # in L2: the mean of 4 pixels has deviation sigma / 2
    assert (found.radius <= np.abs(distance) + 1e-9).all()
    assert (found.radius[2:] > 0.8 * np.minimum(distance[2:], 0.6)).all()
    assert found.prediction.tolist()[2:] == [1, 1, 1]
    assert found.abstained().tolist() == [False, True, False, False, False]
    assert (found.draws == 1200).all()
    assert found.p[4] == pytest.approx(0.001 ** (1 / 1200))
    assert found.accuracy().value == (found.prediction == 1).mean()
    assert found.certified_accuracy(sp.L2(0.1)).value == pytest.approx(0.6)
    assert found.certified_accuracy(sp.Linf(0.1)).value == pytest.approx(0.4)  # 0.2 in L2 is the whole way of 0.6
    assert found.mean_radius() == pytest.approx(found.radius[1:].sum() / 5)


def test_a_count_depends_neither_on_other_images_nor_on_the_batch():
    whole = sp.certify(HalfSpace(), (X, Y), QUICK)
    assert np.array_equal(sp.certify(HalfSpace(), (X, Y), QUICK, images=3).votes, whole.votes[:3])
    for batch in (1, 7, 600, 5000):
        assert np.array_equal(sp.certify(HalfSpace(), (X[:2], Y[:2]), QUICK, batch=batch).votes, whole.votes[:2])
    torch.manual_seed(5)
    assert np.array_equal(sp.certify(HalfSpace(), (X, Y), QUICK).votes, whole.votes)
    assert not np.array_equal(sp.certify(HalfSpace(), (X, Y), QUICK, seed=1).votes, whole.votes)
    assert QUICK.n > BLOCK  # so that several blocks were drawn


def test_fewer_draws_are_the_first_of_many():
    few, many = (sp.certify(HalfSpace(), (X[1:2], Y[1:2]), sp.GaussianSmoothing(n=n)) for n in (500, 1500))
    assert many.votes[0] - few.votes[0] <= 1000
    assert few.prediction[0] == many.prediction[0]


def test_giving_up_changes_no_answer():
    whole = sp.certify(HalfSpace(), (X, Y), QUICK)
    at, model = sp.L2(0.3), HalfSpace()
    quick = sp.certify(model, (X, Y), QUICK, at=at, batch=100)
    assert np.array_equal(quick.holds(at), whole.holds(at))
    assert np.array_equal(quick.radius[whole.radius >= 0.3], whole.radius[whole.radius >= 0.3])
    assert (quick.draws < 1200).tolist() == [True, True, True, False, False]
    assert np.array_equal(quick.given_up(), quick.draws < 1200)
    assert model.seen < 5 * 1250
    assert not quick.abstained().any()


def test_a_radius_that_no_image_can_reach_is_refused():
    with pytest.raises(sp.UserError, match=r"no image can be certified against L2 1.5.* reaches 0\.\d+ at most"):
        sp.certify(HalfSpace(), (X, Y), QUICK, at=sp.L2(1.5))


def test_a_threat_of_which_nothing_is_said_is_refused():
    with pytest.raises(sp.UserError, match="is about L2, and says nothing of"):
        sp.certify(HalfSpace(), (X, Y), QUICK, at=sp.EventFlips(2))


def test_stopped_it_goes_on(tmp_path):
    class Stopping(HalfSpace):
        def forward(self, x):
            if self.seen > 2 * 1250:
                raise KeyboardInterrupt
            return super().forward(x)

    (tmp_path / "run.json").write_text("{}")
    from spikeproof.certificates import certification

    before, certification.EVERY = certification.EVERY, 0.0
    try:
        for _ in range(2):  # two of the five images each
            with pytest.raises(KeyboardInterrupt):
                sp.certify(Stopping(), (X, Y), QUICK, state=Run(tmp_path))
            assert list(tmp_path.glob(STATES))
        last = Stopping()
        found = sp.certify(last, (X, Y), QUICK, state=Run(tmp_path))
        other = Stopping()
        with pytest.raises(KeyboardInterrupt):
            sp.certify(other, (X, Y), QUICK, state=Run(tmp_path), seed=1)  # of other draws: from the beginning
    finally:
        certification.EVERY = before
    assert last.seen < 2 * 1250 < other.seen
    assert np.array_equal(found.votes, sp.certify(HalfSpace(), (X, Y), QUICK).votes)


@dataclass(frozen=True)
class Apart(Ranks):
    """A rank that hears nothing of the others."""

    def gather(self, thing):
        return [thing]


def test_ranks_share_the_images_and_draw_what_one_process_draws():
    whole = sp.certify(HalfSpace(), (X, Y), QUICK)
    parts = [sp.certify(HalfSpace(), (X, Y), QUICK, ranks=Apart(rank, 2)) for rank in (0, 1)]
    assert [(part.draws > 0).tolist() for part in parts] == [[True, False] * 2 + [True], [False, True] * 2 + [False]]
    assert np.array_equal(parts[0].votes + parts[1].votes, whole.votes)


def test_logits_that_are_no_numbers_are_votes_for_none():
    class Dark(HalfSpace):
        def forward(self, x):
            z = super().forward(x)
            return torch.where(z[:, 1:] > 0.05, torch.nan, z)

    assert sp.certify(Dark(), (X[4:], Y[4:]), QUICK).radius.tolist() == [0]


def test_the_model_and_torchs_numbers_stay_as_they_are():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    sp.certify(model, (X[:1], Y[:1]), sp.GaussianSmoothing(n=20, first=5))
    assert torch.equal(torch.rand(1), first)
    assert model.training
    assert model[1].training


def test_images_are_refused_where_they_are_no_images():
    with pytest.raises(sp.UserError, match=r"images lie in \[0, 1\]"):
        sp.certify(HalfSpace(), (X * 3 - 1, Y), QUICK)  # normalised outside: noise would come after it
    with pytest.raises(sp.UserError, match=r"a model is a torch\.nn\.Module"):
        sp.certify(None, (X, Y), QUICK)
    with pytest.raises(sp.UserError, match="batch must be"):
        sp.certify(HalfSpace(), (X, Y), QUICK, batch=0)


def test_outputs_over_time_are_no_votes():
    class Stepping(HalfSpace):
        def forward(self, x):
            return super().forward(x).expand(4, -1, -1)

    class Flattened(HalfSpace):
        def forward(self, x):
            return super().forward(x).repeat(4, 1)

    for model in (Stepping(), Flattened()):
        with pytest.raises(sp.UserError, match="a model returns logits"):
            sp.certify(model, (X, Y), QUICK)

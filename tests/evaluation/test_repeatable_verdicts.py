"""Does a verdict depend on the image alone? Not on the others, their order, the batch, or where a stop came."""

import numpy as np
import pytest
import torch

import spikeproof as sp
from spikeproof.attacks import Attack
from spikeproof.evaluation import robustness
from spikeproof.evaluation.judging import Judge
from spikeproof.evaluation.ledger import fingerprint_of_verdicts
from spikeproof.runs import Run

pytestmark = pytest.mark.usefixtures("compiling_where_it_pays")

THREATS = [sp.Linf(0.05), sp.Linf(0.12)]
SUITE = sp.Suite(
    name="random",
    attacks=(sp.UniformNoise(draws=3), sp.PGD(steps=3, restarts=2), sp.Square(queries=20), sp.FAB(steps=3)),
)
PROTOCOL = sp.Protocol(threats=THREATS, suite=SUITE, seed=4)


@pytest.fixture(scope="module")
def images(digits):
    _, _, x, y = digits
    return x[:48], y[:48]


@pytest.fixture(scope="module")
def usual(trained, images):
    return sp.evaluate(trained, images, PROTOCOL)


def same(one, other):
    for name, array in one.arrays().items():
        assert np.array_equal(array, other.arrays()[name]), name


@pytest.mark.parametrize("attack", SUITE.attacks, ids=str)
def test_halves_apart_and_another_order_give_each_image_its_verdict(attack, trained, images):
    x, y = images
    judge, threat, numbers = Judge(trained, 1, False), THREATS[1], torch.arange(len(x))
    whole = judge(attack, x, y, threat, 7)
    assert 0 < whole.broken.sum() < len(x)
    shuffled = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    for those in (numbers[:24], numbers[24:], numbers[3:4], shuffled):
        found = judge(attack, x[those], y[those], threat, 7, those)
        assert torch.equal(found.broken, whole.broken[those])
        assert torch.equal(found.gradients, whole.gradients[those])


@pytest.mark.parametrize("batch", [5, 13])
def test_the_batch_does_not_count(batch, trained, images, usual):
    same(usual, sp.evaluate(trained, images, PROTOCOL, batch=batch))


def test_fewer_images_get_the_verdicts_that_they_have_among_more(trained, images, usual):
    x, y = images
    found = sp.evaluate(trained, (x[:20], y[:20]), PROTOCOL)
    for name, array in found.arrays().items():
        assert np.array_equal(array, usual.arrays()[name][:20]), name


class Stopped(Exception):
    """What stops an evaluation here."""


def stop_after(calls, monkeypatch):
    original, made = Attack.run, []

    def run(self, *args, **kwargs):
        made.append(len(args[1]))
        if len(made) > calls:
            raise Stopped
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Attack, "run", run)
    return made


@pytest.mark.parametrize("calls", [2, 9])
def test_an_evaluation_goes_on_with_another_batch(calls, trained, images, usual, tmp_path, monkeypatch):
    run = Run(tmp_path)
    monkeypatch.setattr(robustness, "AHEAD", 1)  # a GPU takes many batches at once, and would be done before
    with monkeypatch.context() as patch:
        stop_after(calls, patch)
        with pytest.raises(Stopped):
            sp.evaluate(trained, images, PROTOCOL, batch=7, state=run)
    kept = run.read_arrays("verdicts.partial.npz")
    left = int(((kept["broken_at"] == len(THREATS)) & (kept["stages"] < kept["stages"].max())).sum())
    assert left
    with monkeypatch.context() as patch:
        made = stop_after(1000, patch)
        found = sp.evaluate(trained, images, PROTOCOL, batch=20, state=run)
    assert made[0] == min(20, left)  # where it stopped, and not from the start
    same(usual, found)


def test_the_batch_is_in_the_fingerprint_of_stochastic_networks_alone(trained, images):
    noisy = sp.Network(architecture=sp.MLP(hidden=(16,)), encoder=sp.Poisson(), steps=2).build((1, 8, 8), 10).eval()
    pool = PROTOCOL.pool(images)
    assert fingerprint_of_verdicts(trained, pool, PROTOCOL, 7) == fingerprint_of_verdicts(trained, pool, PROTOCOL, 20)
    assert fingerprint_of_verdicts(noisy, pool, PROTOCOL, 7) != fingerprint_of_verdicts(noisy, pool, PROTOCOL, 20)


def test_a_stochastic_network_begins_again_with_another_batch(images, tmp_path, monkeypatch):
    torch.manual_seed(0)
    noisy = sp.Network(architecture=sp.MLP(hidden=(16,)), encoder=sp.Poisson(), steps=2).build((1, 8, 8), 10).eval()
    assert noisy.stochastic
    suite = sp.Suite(name="small", attacks=(sp.FGSM(),))
    protocol = sp.Protocol(threats=THREATS, suite=suite, draws=2)
    run = Run(tmp_path)
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(Stopped):
            sp.evaluate(noisy, images, protocol, batch=7, state=run)
    assert "verdicts.partial.npz" in run
    again = sp.evaluate(noisy, images, protocol, batch=20, state=run)
    same(again, sp.evaluate(noisy, images, protocol, batch=20))

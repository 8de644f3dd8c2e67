"""Normal noise on pixels: its radius, the networks that it is about, and those that are refused."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn

import spikeproof as sp
from benchmarks.soundness import gaussian
from spikeproof.certificates.voting import lower_bound

FEW = sp.GaussianSmoothing(sigma=0.1, n=60, first=20)


def build(encoder, neuron=None, steps=2):
    neurons = {} if neuron is None else {"neuron": neuron}
    return sp.Network(architecture=sp.MLP(hidden=(16,)), encoder=encoder, steps=steps, **neurons).build((1, 4, 4), 3)


X = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1])


def test_the_radius_is_the_distance_of_half_spaces():
    found = gaussian(3000)
    assert found.violations == 0
    assert found.closest < 1e-6


@pytest.mark.parametrize(("n", "most"), [(100, 1.50), (1000, 2.46), (10_000, 3.20), (100_000, 3.81)])
def test_the_largest_radii_are_those_of_cohen_et_al(n, most):
    certificate = sp.GaussianSmoothing(sigma=1.0, n=n)
    assert certificate.radius(certificate.best, X[0], 1) == pytest.approx(most, abs=0.006)


def test_fresh_noise_at_each_step_certifies_less():
    first, second = (sp.GaussianSmoothing(sigma=0.5, variant=v) for v in ("I", "II"))
    assert first.radius(0.9, X[0], 4) == pytest.approx(0.5 * NormalDist().inv_cdf(0.9))
    assert second.radius(0.9, X[0], 4) == pytest.approx(first.radius(0.9, X[0], 4) / math.sqrt(4))
    assert second.radius(0.9, X[0], 1) == first.radius(0.9, X[0], 1)


@pytest.mark.parametrize("variant", ["I", "II"])
def test_smoothed_is_the_rsc_network_pass_by_pass(variant):
    network = build(sp.RSC(sigma=0.1, variant=variant)).eval()
    smoothed = sp.Smoothed(network, sp.GaussianSmoothing(sigma=0.1, variant=variant))
    assert smoothed.stochastic
    torch.manual_seed(1)
    own = network(X)
    torch.manual_seed(1)
    assert torch.allclose(smoothed(X), own, atol=1e-6)


@pytest.mark.parametrize("variant", ["I", "II"])
def test_votes_are_those_of_the_smoothed_network(variant):
    network = build(sp.Direct()).eval()
    certificate = sp.GaussianSmoothing(sigma=0.5, variant=variant, n=400, first=20)
    found = sp.certify(network, (X, Y), certificate)
    shares = sp.predict(sp.Smoothed(network, certificate), X, draws=400, vote=True, seed=3)
    for image in range(2):
        assert abs(found.votes[image] / 400 - shares[image, found.prediction[image]]) < 0.15
    assert not found.own
    assert sp.certify(build(sp.RSC(sigma=0.5)), (X, Y), sp.GaussianSmoothing(sigma=0.5, n=20)).own


def test_a_smoothed_network_is_attacked_and_differentiated():
    network = build(sp.Direct(), sp.ReLU(), steps=1).eval()
    smoothed = sp.Smoothed(network, FEW)
    x = X.clone().requires_grad_()
    smoothed(x).sum().backward()
    assert x.grad.abs().sum() > 0
    protocol = sp.Protocol(threats=sp.L2(0.5), suite=sp.Suite(name="one", attacks=(sp.PGD(steps=2),)), draws=4)
    verdicts = sp.evaluate(smoothed, (X, network(X).argmax(1)), protocol)
    assert verdicts.draws == 4
    assert verdicts.gradients.sum() > 0


def test_noise_is_on_pixels_and_not_clipped():
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)[:, :3]

    sp.certify(Watching(), (torch.zeros(1, 1, 4, 4), Y[:1]), sp.GaussianSmoothing(sigma=0.2, n=2000, first=10))
    drawn = torch.cat(seen)
    assert drawn.min() < -0.5
    assert drawn.std().item() == pytest.approx(0.2, rel=0.03)
    assert drawn.mean().item() == pytest.approx(0, abs=0.01)


def test_foreign_networks_and_anns_are_certified():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    for model in (plain, build(sp.Direct(), sp.ReLU(), steps=1), sp.adapt(plain)):
        assert np.isfinite(sp.certify(model, (X, Y), FEW).radius).all()


@pytest.mark.parametrize(
    ("model", "certificate", "said"),
    [
        (build(sp.RSC(sigma=0.1, moments="poisson")), FEW, "depends on the image, and no such certificate is known"),
        (build(sp.RSC(sigma=0.2)), FEW, "the network draws noise of its own, sigma=0.2, variant='I'"),
        (build(sp.RSC(sigma=0.1, variant="II")), FEW, "sigma=0.1, variant='II'"),
        (build(sp.Poisson()), FEW, "says nothing of a network whose encoder is Poisson.* RateCodingL1"),
        (build(sp.Thresholds()), FEW, "SharedThresholds"),
        (
            nn.Sequential(nn.BatchNorm2d(1), build(sp.RSC(sigma=0.1))),
            FEW,
            "draws noise inside it, behind normalisation",
        ),
        (nn.Flatten(), sp.GaussianSmoothing(variant="II"), "take variant I"),
        (build(sp.Latency()), sp.GaussianSmoothing(variant="II"), "variant II puts noise on the currents"),
        (
            sp.Network(architecture=sp.MLP(hidden=(4,)), encoder=sp.Frames()).build((2, 2, 4, 4), 3),
            FEW,
            "is about images, and the network takes event frames",
        ),
    ],
    ids=[
        "poisson moments",
        "sigma",
        "variant",
        "poisson",
        "thresholds",
        "inside",
        "foreign II",
        "latency II",
        "frames",
    ],
)
def test_networks_that_it_says_nothing_of_are_refused(model, certificate, said):
    with pytest.raises(sp.UserError, match=said):
        certificate.prover(model)


def test_an_image_at_the_rim_of_its_radius_keeps_its_class():
    """Attacks at 0.99 of each radius: the same certificate, with other draws, never finds another class."""
    torch.manual_seed(0)
    network = build(sp.Direct()).eval()
    certificate = sp.GaussianSmoothing(sigma=0.25, n=1000)
    x = torch.rand(6, 1, 4, 4)
    found = sp.certify(network, (x, torch.zeros(6).long()), certificate)
    smoothed, named = sp.Smoothed(network, certificate), torch.from_numpy(found.prediction)
    prover = certificate.prover(network, seed=1)
    certified = np.flatnonzero(found.radius > 0)
    assert len(certified) >= 4
    for image in certified:
        threat = sp.L2(0.99 * found.radius[image])
        for attack in (sp.PGD(steps=10, eot=4), sp.APGD(steps=10, eot=4)):
            attacked = attack(smoothed, x[image : image + 1], named[image : image + 1], threat)
            assert threat.contains(attacked, x[image : image + 1]).all()
            there = prover(attacked[0], 0)
            assert there.prediction == named[image] or there.radius == 0


@pytest.mark.parametrize(("votes", "n"), [(100, 100), (990, 1000), (9_999, 10_000), (560, 1000), (540, 1000)])
def test_radii_of_counts_are_those_of_the_published_code(votes, n):
    """core.py of Cohen et al. takes Clopper and Pearson's interval at 2 alpha, and sigma times the normal quantile.

    Here both are found by halving: the p under which `votes` or more of n have a probability of alpha, by whole
    numbers and logarithms alone, and the quantile by erf.
    """
    alpha, sigma = 0.001, 0.25

    def tail(p):
        logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(votes, n + 1)]
        terms = [c + k * math.log(p) + (n - k) * math.log1p(-p) for c, k in zip(logs, range(votes, n + 1), strict=True)]
        return math.fsum(map(math.exp, terms))

    p = halved(lambda p: tail(p) > alpha, 1e-9, 1 - 1e-9)
    quantile = halved(lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2))) > p, -10, 10)
    expected = sigma * quantile if p > 0.5 else 0.0
    certificate = sp.GaussianSmoothing(sigma=sigma, n=n, alpha=alpha)
    assert certificate.reached(lower_bound(votes, n, alpha), torch.zeros(1), 1) == pytest.approx(expected, abs=1e-6)
    assert (expected > 0) == (votes != 540)  # which core.py abstains from


def halved(beyond, low, high):
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return low

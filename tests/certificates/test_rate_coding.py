"""Spikes drawn from pixels: three radii, each against the worst classifier there is."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

import spikeproof as sp
from benchmarks.soundness import masses, rate_l1, rate_linf, trains, worst_mass
from spikeproof.certificates.rate_radii import contrast_radius, hellinger_radius, published_radius, universal_radius

FEW = {"n": 60, "first": 20}


def build(encoder, steps=3):
    return sp.Network(architecture=sp.MLP(hidden=(16,)), encoder=encoder, steps=steps).build((1, 4, 4), 3).eval()


X, Y = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])


def test_the_published_radius_has_a_counter_example():
    at, there = (float(binom.sf(1, 4, x)) for x in (0.5, 0.3125))
    assert at == 0.6875
    assert there == pytest.approx(0.370, abs=5e-4)
    assert published_radius(at, 4) == 0.1875 == 0.5 - 0.3125
    assert there < 0.5  # inside the radius the class has changed
    assert universal_radius(at, 4) == pytest.approx(0.0697, abs=5e-5)
    assert float(binom.sf(1, 4, 0.5 - universal_radius(at, 4))) > 0.5


def test_the_check_finds_what_is_wrong_with_it():
    assert rate_l1(2000, bound="published").violations > 0


def test_it_is_refused_unless_it_is_wanted():
    with pytest.raises(sp.UserError, match=r"published radius pA - 1/2 is wrong.*0\.1875, has 0\.370"):
        sp.RateCodingL1(bound="published")
    assert sp.RateCodingL1(bound="published", unsound=True).radius(0.9, X[0], 4) == pytest.approx(0.4, abs=1e-5)


@pytest.mark.parametrize("check", [rate_l1, lambda cases: rate_l1(cases, bound="universal"), trains, rate_linf])
def test_no_classifier_breaks_a_radius(check):
    found = check(2000)
    assert found.cases >= 2000
    assert found.violations == 0


def test_the_worst_classifier_by_hand():
    one, two = masses(np.array([[0.5]]), 1), masses(np.array([[0.2]]), 1)
    assert worst_mass(one, two, 0.5)[0] == pytest.approx(0.2)  # it answers where there is a spike
    assert worst_mass(one, two, 0.75)[0] == pytest.approx(0.2 + 0.5 * 0.8)


def test_the_universal_radius_is_reached_by_silence():
    """The class [no spike of one pixel]: p = (1 - x)^T is 1/2 exactly at the end of the radius."""
    x, steps = 0.02, 4
    p = (1 - x) ** steps
    assert (1 - x - universal_radius(p, steps)) ** steps == pytest.approx(0.5)
    assert universal_radius(0.9, 1) == pytest.approx(0.4)
    assert universal_radius(0.9, 4) == pytest.approx(0.133, abs=5e-4)


def test_contrast_that_keeps_away_from_the_ends_certifies_more():
    radii = [contrast_radius(0.99, 4, margin) / (1 - 2 * margin) for margin in (0, 0.05, 0.1, 0.2)]
    assert radii == sorted(radii)
    assert radii[0] == universal_radius(0.99, 4)
    assert radii == pytest.approx([0.157, 0.251, 0.380, 0.710], abs=1e-3)  # as docs/certificates.md says
    assert contrast_radius(0.99, 4, 0.0, nearest=0.3) > universal_radius(0.99, 4)
    for p in (0.501, 0.6, 0.9, 0.999):
        assert contrast_radius(p, 4, 0.1) >= universal_radius(p, 4)
    grown = [contrast_radius(p, 4, 0.1) for p in np.linspace(0.5001, 0.9999, 40)]
    assert grown == sorted(grown)


def test_an_image_without_black_and_white_is_certified_further():
    grey, black = torch.full((1, 4, 4), 0.5), torch.full((1, 4, 4), 0.5)
    black[0, 0, 0] = 0
    certificate = sp.RateCodingL1()
    assert certificate.radius(0.95, black, 3) == pytest.approx(universal_radius(0.95, 3), abs=1e-5)
    assert certificate.radius(0.95, grey, 3) > 1.1 * universal_radius(0.95, 3)


def test_the_angle_by_hand():
    """One pixel, one step: the affinity is that of two coins."""
    p, rate = 0.99, np.array([0.5])
    change = hellinger_radius(p, rate, 1, 0.0)
    both = math.sqrt(0.5 * (0.5 + change)) + math.sqrt(0.5 * (0.5 - change))
    assert math.acos(math.sqrt(p)) + math.acos(both) == pytest.approx(math.pi / 4, abs=1e-6)
    assert hellinger_radius(0.5, rate, 1, 0.0) == 0
    assert hellinger_radius(p, np.full(100, 0.5), 4, 0.0) < change


def test_poisson_networks_are_certified_and_their_votes_are_theirs():
    network = build(sp.Poisson())
    found = sp.certify(network, (X, Y), sp.RateCodingL1(n=400, first=20))
    shares = sp.predict(network, X, draws=400, vote=True)
    for image in range(2):
        assert abs(found.votes[image] / 400 - shares[image, found.prediction[image]]) < 0.15
    assert found.own
    assert found.certificate.threat is sp.L1
    linf = sp.certify(build(sp.Poisson(margin=0.2)), (X, Y), sp.RateCodingLinf(margin=0.2, **FEW))
    assert ((linf.radius > 0) & (linf.radius < 0.11)).all()  # 16 pixels, 3 steps: far more than of a picture


def test_a_smoothed_network_passes_the_gradient():
    x = X.clone().requires_grad_()
    sp.Smoothed(build(sp.Poisson(margin=0.1)), sp.RateCodingL1(margin=0.1, **FEW))(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (build(sp.Direct()), "is about the encoder Poisson, and the network has Direct"),
        (torch.nn.Flatten(), "the network has no code of ours"),
        (build(sp.Poisson(margin=0.1)), r"margin of 0.1, and the certificate says 0: take RateCodingL1\(margin=0.1\)"),
    ],
    ids=["direct", "foreign", "margin"],
)
def test_other_networks_are_refused(network, said):
    with pytest.raises(sp.UserError, match=said):
        sp.RateCodingL1(**FEW).prover(network)

"""Thresholds that pixels share: exact radii, whatever the network makes of the codes."""

import numpy as np
import pytest
import torch

import spikeproof as sp
from benchmarks.soundness import Table, shared_thresholds, votes_of
from spikeproof.certificates.shared_thresholds import Enumeration


def build(encoder):
    return sp.Network(architecture=sp.MLP(hidden=(16,)), encoder=encoder, steps=2).build((1, 4, 4), 3).eval()


X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).mul(255).round().div(255)
Y = torch.tensor([0, 1, 2])


@pytest.mark.parametrize("images", ["any", "8-bit"])
def test_no_image_within_the_radius_has_another_majority(images):
    found = shared_thresholds(400, images=images)
    assert found.violations == 0


def test_the_check_reaches_the_rim():
    """Some image within the radius is a tie, or all but one."""
    assert shared_thresholds(400).closest <= 1


def test_all_codes_are_voted_for_and_nothing_is_drawn():
    network = build(sp.Thresholds(levels=300))
    one, two = (
        sp.certify(network, (X, Y), sp.SharedThresholds(), seed=seed, batch=b) for seed, b in ((0, 7), (1, 500))
    )
    assert one.draws.tolist() == [300, 300, 300]
    assert one.votes.tolist() == two.votes.tolist()
    assert one.radius.tolist() == two.radius.tolist()
    assert one.own
    counted = torch.zeros(3, 3)
    for k in range(300):
        codes = network.encoder.codes(X, torch.full((3,), k)).unsqueeze(0).expand(2, -1, -1, -1, -1)
        counted += torch.nn.functional.one_hot(network.readout(network.body(codes)).argmax(1), 3)
    assert counted.argmax(1).tolist() == one.prediction.tolist()
    assert counted.amax(1).tolist() == one.votes.tolist()


def test_the_radius_by_hand():
    network = build(sp.Thresholds())
    found = sp.certify(network, (X, Y), sp.SharedThresholds(images="8-bit"))
    levels = found.radius * 255
    assert abs(levels - levels.round()).max() < 1e-9
    anywhere = sp.certify(network, (X, Y), sp.SharedThresholds()).radius * 255
    assert (anywhere <= levels + 0.5).all()


def test_other_networks_and_finer_images_are_refused():
    with pytest.raises(sp.UserError, match="is about the encoder Thresholds, and the network has Direct"):
        sp.SharedThresholds().prover(build(sp.Direct()))
    with pytest.raises(sp.UserError, match="image 0 is of more levels than 8 bits have"):
        sp.certify(build(sp.Thresholds()), (X * 0.999, Y), sp.SharedThresholds(images="8-bit"))


def test_the_code_has_as_many_spikes_as_the_pixel_is_bright():
    code = sp.Thresholds(levels=255)
    x = torch.tensor([0.0, 0.2, 1.0]).view(1, 1, 1, 3)
    spikes = torch.stack([code.codes(x, torch.tensor([k])) for k in range(255)]).sum(0)
    assert spikes.flatten().tolist() == [0, 51, 255]
    assert code(x, 4).shape == (1, 1, 1, 1, 3)  # constant in time


def test_the_check_counts_the_votes_that_the_certificate_counts():
    draw = np.random.default_rng(0)
    for pixels in (1, 3):
        code, table = sp.Thresholds(levels=300, seed=7), Table(pixels, 3, draw)
        x = torch.from_numpy(draw.random((5, 1, 1, pixels)))
        counted = [Enumeration(code, table, 1, "any", 1000).votes(one) for one in x]
        assert torch.equal(votes_of(code, table, x).long(), torch.stack(counted))

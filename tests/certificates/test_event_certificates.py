"""Certificates of event recordings: closed forms against brute force, noise against its law, and the loop of votes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import spikeproof as sp
from benchmarks import event_soundness
from spikeproof.certificates.event_bounds import ablation_least, deletion_least, flip_least, most_edits
from spikeproof.certificates.recordings import Recordings, events_of, listed
from spikeproof.data.events.noise import flipped, thinned
from spikeproof.data.events.recordings import FramedRecordings

FEW = {"n": 60, "first": 20}
SENSOR = sp.Sensor(height=1, width=3)


class Busier(nn.Module):
    """Class 1 where the left half of the frames has at least as many events as the right one."""

    def forward(self, x):
        x = x.sum((1, 2, 3))
        half = x.shape[1] // 2
        z = x[:, :half].sum(1) - x[:, -half:].sum(1) + 0.5
        return torch.stack([-z, z], 1)


def counts(*cells):
    return torch.tensor(cells).float().view(len(cells), 1, 1, 1, -1)


def recording(*rows):
    t, x, p = zip(*rows, strict=True)
    return sp.Events(
        t=np.array(t), x=np.array(x, np.int16), y=np.zeros(len(t), np.int16), p=np.array(p, np.uint8), sensor=SENSOR
    )


def images_of(recordings, framing):
    frames = FramedRecordings(
        read=lambda number: [recordings[number]],
        framing=framing,
        shape=framing.shape(SENSOR),
        source=range(len(recordings)),
        within=[0] * len(recordings),
    )
    labels = torch.ones(len(recordings), dtype=torch.int64)
    return sp.Images(pixels=frames, rows=torch.arange(len(recordings)), labels=labels, classes=("a", "b"))


@pytest.mark.parametrize("check", event_soundness.CHECKS)
def test_no_classifier_breaks_a_certificate(check):
    cases = 3000 if "every recording" in check else 300  # one draw of these gives dozens
    found = event_soundness.CHECKS[check](cases)
    assert found.cases >= cases
    assert found.violations == 0


def test_the_checks_find_what_is_wrong(monkeypatch):
    monkeypatch.setattr(event_soundness, "deletion_least", lambda p, a, b: deletion_least(p, a, max(b - 1, 0)))
    monkeypatch.setattr(event_soundness, "flip_least", lambda p, q, a, b: flip_least(p, q, a, max(b - 1, 0)))
    monkeypatch.setattr(event_soundness, "ablation_least", lambda k, d, r: ablation_least(k, d, max(r - 1, 0)))
    for check in (event_soundness.deletion, event_soundness.flips, event_soundness.ablation):
        assert check(300).violations > 0


def test_deletion_by_hand():
    """pA = .99: p = .9 inserts 6, moves 6, deletes 37; p = .99 moves 66."""
    for p, inserted, moved, deleted in ((0.9, 6, 6, 37), (0.99, 67, 66, 389)):
        assert most_edits(0.99, lambda edits, p=p: deletion_least(p, edits, 0)) == inserted
        assert most_edits(0.99, lambda edits, p=p: deletion_least(p, edits, edits)) == moved
        assert most_edits(0.99, lambda edits, p=p: deletion_least(p, 0, edits)) == deleted
    assert deletion_least(0.9, 0, 0) == 0.5
    assert 0.9**6 * 0.99 > 0.5 > 0.9**7 * 0.99  # F' >= p^a pA
    assert 0.99 - (1 - 0.9**6) > 0.5 > 0.99 - (1 - 0.9**7)  # F' >= pA - (1 - p^rho)


def test_flips_by_hand():
    assert flip_least(0.01, 0.6, 0, 0) == pytest.approx(0.5)
    # one event inserted: it is there with .01 here and .4 there; the class takes its absence first
    assert flip_least(0.01, 0.6, 1, 0) == pytest.approx(0.5 / 0.6 * 0.99)
    # one deleted: it stays with .4 here and .01 there, and the class takes that, then what is left of one half
    assert flip_least(0.01, 0.6, 0, 1) == pytest.approx(0.4 + 0.6 * 0.49 / 0.99)
    assert flip_least(0.0, 0.6, 1, 0) == pytest.approx(0.5 / 0.6)  # without events that appear: three regions
    assert flip_least(0.0, 0.4, 1, 0) == pytest.approx(1)


def test_ablation_by_hand():
    assert ablation_least(10, 1000, 3) == pytest.approx(1.5 - math.comb(997, 10) / math.comb(1000, 10))
    assert ablation_least(10, 12, 3) > 1


@pytest.mark.parametrize(
    "certificate",
    [sp.DeletionSmoothing(**FEW), sp.FlipSmoothing(**FEW), sp.CellAblation(kept=3, **FEW), sp.RecordingDeletion(**FEW)],
    ids=lambda one: type(one).__name__,
)
def test_least_grows_with_edits_and_radii_with_probability(certificate):
    x = torch.empty(40)
    grid = np.array([[certificate.least(a, b, x) for a in range(6)] for b in range(6)])
    assert (np.diff(grid, axis=0) >= -1e-12).all()
    assert (np.diff(grid, axis=1) >= -1e-12).all()
    radii = [most_edits(p, lambda edits: certificate.least(edits, edits, x)) for p in np.linspace(0.5, 0.9999, 30)]
    assert radii == sorted(radii)
    assert radii[-1] > 0


def test_a_move_is_dearest_and_one_kind_is_certified_further():
    certificate, x = sp.DeletionSmoothing(probability=0.9, **FEW), torch.empty(40)
    assert certificate.withstands(0.99, sp.EventEdits(6), x)
    assert not certificate.withstands(0.99, sp.EventEdits(7), x)
    assert certificate.withstands(0.99, sp.EventEdits(37, add=0, move=0), x)
    assert not certificate.withstands(0.99, sp.EventEdits(38, add=0, move=0), x)
    assert certificate.withstands(0.99, sp.EventFlips(37, only="delete"), x)
    assert not certificate.withstands(0.99, sp.EventFlips(37), x)
    assert not certificate.withstands(0.5, sp.EventFlips(0), x)


def test_deletion_is_binomial_whatever_the_row():
    x = counts((5, 0, 1, 20)).expand(20_000, -1, -1, -1, -1)
    drawn = thinned(x, 0.7, torch.Generator().manual_seed(0)).flatten(1)
    assert ((drawn >= 0) & (drawn <= x.flatten(1)) & (drawn == drawn.round())).all()
    n = x[0].flatten()
    assert (drawn.mean(0) - 0.3 * n).abs().max() < 0.06
    assert (drawn.var(0) - 0.21 * n).abs().max() < 0.15
    assert abs(float(torch.corrcoef(drawn[:, [0, 3]].T)[0, 1])) < 0.03


def test_flips_are_as_likely_as_said():
    x = counts((0, 1)).expand(20_000, -1, -1, -1, -1)
    drawn = flipped(x, 0.1, 0.6, torch.Generator().manual_seed(0)).flatten(1)
    assert drawn.mean(0).tolist() == pytest.approx([0.1, 0.4], abs=0.015)


@pytest.mark.parametrize("step", [sp.EventDeletion(probability=0.5), sp.FrameFlips()], ids=repr)
def test_augmentations_are_the_noise_and_come_from_the_generator(step):
    x = counts((1, 0, 1, 1)).repeat(50, 1, 1, 1, 1)
    first, again = (sp.augment(x, (step,), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, x)
    with pytest.raises(sp.UserError, match="takes event frames"):
        step(x[:, 0])


def test_a_smoothed_network_passes_the_gradient_of_the_mean():
    x = counts((3, 1, 0, 2)).requires_grad_()
    for certificate, slope in ((sp.DeletionSmoothing(**FEW), 0.1), (sp.FlipSmoothing(**FEW), 0.39)):
        (grad,) = torch.autograd.grad(certificate.draw(x, 1).sum(), x)
        assert grad.flatten().tolist() == pytest.approx([slope] * 4)


def test_frames_are_certified_by_votes():
    x, y = counts((60, 0), (3, 3)), torch.ones(2, dtype=torch.int64)
    found = sp.certify(Busier(), (x, y), sp.DeletionSmoothing(probability=0.8, n=400, first=20))
    certificate = found.certificate
    assert found.radius[0] == most_edits(found.p[0], lambda edits: certificate.least(edits, edits, x[0]))
    assert found.radius[0] == int(found.radius[0]) >= 2
    assert found.holds(sp.EventEdits(int(found.radius[0]))).tolist() == [True, False]
    assert not found.holds(sp.EventEdits(int(found.radius[0]) + 1)).any()
    deleted = [certificate.holds(found, sp.EventEdits(eps, add=0, move=0))[0] for eps in (1, 5, 50)]
    assert deleted == [True, True, False]
    assert certificate.threat().unit == "events added, removed or moved"


def test_empty_recordings_count_with_the_class_of_empty_frames():
    x = counts((1, 0))
    found = sp.certify(Busier(), (x, torch.ones(1).long()), sp.DeletionSmoothing(probability=0.999, n=400, first=20))
    assert found.votes[0] == 400  # Busier names 1 where there is nothing


def test_deletion_before_framing_is_deletion_in_frames_of_counts():
    framing = sp.Framing(steps=1, span=100, since="zero")
    images = images_of([recording(*[(t, t % 3 // 2 * 2, 1) for t in range(30)])], framing)
    settings = {"probability": 0.9, "n": 4000, "first": 20}
    frames = sp.certify(Busier(), images, sp.DeletionSmoothing(**settings))
    raw = sp.certify(Busier(), images, sp.RecordingDeletion(**settings))
    assert abs(frames.votes[0] - raw.votes[0]) < 6 * math.sqrt(4000 / 4)
    assert raw.radius[0] == most_edits(raw.p[0], lambda edits: deletion_least(0.9, edits, edits))
    assert raw.certificate.threat is sp.RecordingEdits
    assert raw.holds(sp.RecordingEdits(1))[0] == (raw.radius[0] >= 1)
    assert not raw.holds(sp.EventEdits(1)).any()  # of frames, whose first event may be another one


@pytest.mark.parametrize("framing", [sp.Framing(steps=2), sp.Framing(steps=2, by="number")], ids=["time", "number"])
def test_raw_events_are_framed_as_recordings_are(framing):
    events = recording((5, 0, 1), (9, 1, 0), (40, 2, 1), (41, 0, 1), (90, 1, 1))
    rows = listed(events)
    assert torch.equal(framing([events_of(rows[torch.tensor([3, 0, 4, 2, 1])].numpy(), SENSOR)]), framing([events]))
    gone = rows.clone()
    gone[:2, 3] = -1
    chosen = events.where(np.array([2, 3, 4]))
    seen = []

    class Seeing(nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.zeros(len(x), 2)

    empty = rows.clone()
    empty[:, 3] = -1
    sp.Framed(Seeing(), framing, SENSOR)(torch.stack([gone, empty]))
    assert torch.equal(seen[0][0], framing([chosen])[0])
    assert not seen[0][1].any()


def test_times_of_raw_events_get_the_noise_they_should():
    x = listed(recording(*[(1000 * t, 0, 1) for t in range(50)])).expand(200, -1, -1)
    for certificate, spread in (
        (sp.GaussianRetiming(sigma=500.0, **FEW), 500.0),
        (sp.UniformRetiming(most=600.0, **FEW), 346.4),
    ):
        delay = (certificate.draw(x, 1) - x)[..., 0].double()
        assert float(delay.std()) == pytest.approx(spread, rel=0.03)
        assert abs(float(delay.mean())) < spread / 20
        assert torch.equal(certificate.draw(x, 1)[..., 1:], x[..., 1:])
    assert sp.UniformRetiming(most=600.0, **FEW).radius(0.75, x[0], 1) == 300
    assert sp.GaussianRetiming(sigma=500.0, **FEW).radius(0.5 + 0.3413447, x[0], 1) == pytest.approx(500, rel=1e-5)


def test_retiming_is_certified_of_recordings():
    images = images_of([recording(*[(100 + 10 * t, 0, 1) for t in range(20)])], sp.Framing(steps=2, span=500))
    for certificate, threat in (
        (sp.GaussianRetiming(n=200, first=20), sp.DelayL2),
        (sp.UniformRetiming(n=200, first=20), sp.DelayL1),
    ):
        found = sp.certify(Busier(), images, certificate)
        assert found.votes[0] == 200  # events stay in their pixels
        assert found.holds(threat(found.radius[0]))[0]
        assert not found.holds(threat(found.radius[0] * 1.01))[0]


def test_distances_of_raw_events():
    x = torch.tensor([[[1, 0, 0, 1], [5, 1, 0, 0], [9, 2, 0, 1]]])
    other = x.clone()
    other[0, 0, 0], other[0, 2, 0] = 4, 5
    assert sp.DelayL1(7.0).distance(other, x).tolist() == [7]
    assert sp.DelayL2(5.0).contains(other, x).tolist() == [True]
    assert sp.RecordingEdits(1).distance(other, x).tolist() == [2]
    other[0, 0, 3] = -1
    assert sp.RecordingEdits(1).distance(other, x).tolist() == [2]  # one deleted, one moved
    assert sp.DelayL1(7.0).distance(other, x).tolist() == [math.inf]


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda: sp.DeletionSmoothing(probability=1.0), "probability of DeletionSmoothing must be"),
        (lambda: sp.FlipSmoothing(appear=0.5, vanish=0.6), "below 1 together"),
        (lambda: sp.FrameFlips(appear=0.5, vanish=0.6), "below 1 together"),
        (lambda: sp.UniformRetiming(most=0.0), "most of UniformRetiming must be"),
        (lambda: certified(sp.DeletionSmoothing(**FEW), counts((0.5, 1))), "count whole events"),
        (lambda: certified(sp.FlipSmoothing(**FEW), counts((2, 1))), "2 events in a cell, more than the 1"),
        (lambda: certified(sp.DeletionSmoothing(**FEW), torch.rand(1, 1, 4, 4)), "takes event frames"),
        (lambda: certified(sp.RecordingDeletion(**FEW), counts((2, 1))), "about raw events: certify a data set"),
        (lambda: sp.GaussianRetiming(**FEW).prover(Busier()), r"Framed\(model, framing, sensor\)"),
        (lambda: sp.RecordingEdits(1).project(counts((1,)), counts((1,))), "no attack searches it"),
    ],
    ids=range(10),
)
def test_what_cannot_be_certified_is_refused(attempt, said):
    with pytest.raises(sp.UserError, match=said):
        attempt()


def certified(certificate, x):
    return sp.certify(Busier(), (x, torch.ones(1).long()), certificate)


def test_networks_with_noise_of_their_own_are_refused():
    noisy = Busier()
    noisy.stochastic = True
    with pytest.raises(sp.UserError, match="draws noise of its own"):
        certified_by(noisy)


def certified_by(model):
    return sp.certify(model, (counts((1, 0)), torch.ones(1).long()), sp.FlipSmoothing(**FEW))


def test_recordings_give_their_raw_events_by_number():
    events = [recording((1, 0, 1)), recording((2, 1, 0), (3, 2, 1))]
    images = images_of(events, sp.Framing(steps=1, span=10)).select([1, 0])
    pool = Recordings(images, images.pixels)
    assert pool.batch(torch.tensor([0]))[0].tolist() == [[[2, 1, 0, 0], [3, 2, 0, 1]]]

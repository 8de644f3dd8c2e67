"""Certificates without noise: never above what attacks and brute force leave, and refuted by real images."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import spikeproof as sp
from benchmarks import soundness
from spikeproof.bounds import Range, margins
from spikeproof.bounds.encoding import Encodings
from spikeproof.certificates.interval_bounds import in_question
from spikeproof.cli import main
from spikeproof.configs import to_config
from spikeproof.runs import Run
from spikeproof.runs.certificate_files import read_certificates
from spikeproof.runs.records import RunRecord
from spikeproof.runs.weights import write_model
from tests.bounds.test_margins import box_around, images_in, tiny

CHAINS = [
    sp.IF(),
    sp.IF(reset="soft", charge=0.5),
    sp.LIF(leak=0.9),
    sp.LIF(leak=0.7, reset="soft", charge=0.3),
    sp.IF(reset="soft", charge=0.5, two_phases=True),
    sp.DLIF(two_phases=True),
    sp.DLIF(),
    sp.ReLU(),
]
QUICK = sp.BranchAndBound(seconds=20.0, attack=sp.PGD(steps=2))
"""Long enough for a tiny network on a busy machine."""


def certified(network, x, certificate):
    return sp.certify(network, (x, torch.zeros(len(x), dtype=torch.int64)), certificate)


@pytest.mark.parametrize("neuron", CHAINS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("pixels", [1, 2])
def test_complete_is_what_brute_force_finds(neuron, pixels):
    """Every image of a grid has the class, or one has another: and so it says, for each of four images."""
    network = tiny(neuron, {1: 10, 2: 6}[pixels], pixels, steps=3)
    x, certificate = torch.rand(4, 1, 1, pixels), replace(QUICK, eps=0.1)
    found = certified(network, x, certificate)
    relaxed = certified(network, x, replace(certificate, branch=False))
    intervals = certified(network, x, sp.IntervalBounds(eps=0.1, sizes=1))
    for number, image in enumerate(x):
        named = network(images_in(box_around(image.unsqueeze(0), 0.1), pixels)).argmax(1)
        alike = bool((named == found.prediction[number]).all())
        assert alike or not found.radius[number]
    assert not (found.refuted() & (found.radius > 0)).any()
    assert (found.refuted() | (found.radius > 0)).mean() >= 0.75  # little is left open: what is near a threshold
    assert (relaxed.radius <= found.radius).all()
    assert (intervals.radius <= relaxed.radius).all()


def test_no_image_of_a_box_breaks_a_bound_and_the_check_finds_one_that_is_too_kind(monkeypatch):
    found = soundness.intervals(6000)
    assert (found.violations, found.cases) == (0, 6000)
    assert found.closest < 1e-2
    monkeypatch.setattr(soundness, "margins", lambda *given: margins(*given) + 0.02)
    assert soundness.intervals(6000).violations > 0


def test_a_program_of_one_image_has_its_margins():
    """As a solution, and nothing that is lower: the rows leave out nothing that the network does, and add nothing."""
    network = tiny(sp.LIF(), 6, 3, steps=3)
    encodings = Encodings(in_question(network, QUICK)[1])
    images = images_in(box_around(torch.rand(1, 1, 1, 3), 0.2), 3)[::40]
    with torch.no_grad():
        z = network(images)
    for image, logits in zip(images.double(), z.double(), strict=True):
        encoding = encodings.of(Range(image, image), 0)
        for other in (1, 2):
            row, margin = encoding.margins.chosen(np.array([other])), float(logits[0] - logits[other])
            assert encoding.program.solved(row, margin + 1e-4, whole=True, seconds=20)[0]
            assert encoding.program.solved(row, margin - 1e-2, whole=True, seconds=20)[0] is False


def test_a_refutation_is_an_image_of_another_class():
    network, x = tiny(sp.LIF(), 6, 3, steps=4), torch.rand(8, 1, 1, 3)
    by_attack = certified(network, x, replace(QUICK, eps=0.3, attack=sp.PGD(steps=20)))
    by_search = certified(network, x, replace(QUICK, eps=0.3, attack=sp.UniformNoise()))
    for found in (by_attack, by_search):
        assert found.refuted().sum() > 2
        assert (found.limit[found.refuted()] <= 0.3 + 1e-6).all()
        assert np.isinf(found.limit[~found.refuted()]).all()
        assert (found.radius[found.refuted()] == 0).all()


def test_the_strongest_attacks_break_nothing_within_a_radius(trained):
    x, y = sp.Digits().part("test").batch(torch.arange(4))
    found = sp.certify(trained, (x, y), sp.IntervalBounds(eps=0.008, sizes=8))
    radius = np.unique(found.radius)[1]  # the least that is above 0: all the others are certified there too
    sure = torch.from_numpy(found.radius >= radius)
    assert sure.sum() >= 2
    named, threat = torch.from_numpy(found.prediction)[sure], sp.Linf(0.99 * float(radius))
    for attack in (sp.APGD(steps=6), sp.APGD(steps=6, loss=sp.Margin())):
        moved = attack(sp.attack_view(trained), x[sure], named, threat)
        assert torch.equal(trained(moved).argmax(1), named)


def test_trains_certify_further_and_radii_are_multiples_of_the_least_size(trained):
    x, y = sp.Digits().part("test").batch(torch.arange(4))
    steps, trains = (
        sp.certify(trained, (x, y), sp.IntervalBounds(eps=0.008, sizes=8, trains=trains)) for trains in (False, True)
    )
    assert (trains.radius >= steps.radius).all()
    assert trains.radius.sum() > steps.radius.sum()
    assert np.allclose(trains.radius / 0.001, np.round(trains.radius / 0.001))
    assert trains.own
    assert not trains.certificate.votes
    assert trains.certified_accuracy(sp.Linf(0.001)).value >= trains.certified_accuracy(sp.Linf(0.004)).value
    at_once = sp.certify(trained, (x, y), sp.IntervalBounds(eps=0.008, sizes=8), batch=3)
    assert np.array_equal(at_once.radius, trains.radius)


@pytest.mark.parametrize("kind", [sp.IntervalBounds, sp.BranchAndBound])
def test_what_cannot_be_certified_is_refused(kind):
    def refused(said, network=None, **fields):
        with pytest.raises(sp.UserError, match=said):
            kind(**fields).prover(network)

    for eps in (0, -0.1, 1.5, math.nan):
        refused(f"eps of {kind.__name__} must be", eps=eps)
    mlp = sp.MLP(hidden=(3,))
    noisy = sp.Network(architecture=mlp, encoder=sp.RSC()).build((1, 4, 4), 3)
    refused("is about networks that draw nothing, and RSC draws", noisy)
    refused("draws: take the certificate", sp.Network(architecture=mlp, encoder=sp.Poisson()).build((1, 4, 4), 3))
    refused("takes event frames", sp.Network(architecture=mlp, encoder=sp.Frames()).build((2, 2, 4, 4), 3))
    refused("a Sequential is none", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"architecture": sp.SEWResNet(widths=(2, 2), blocks=(1, 1))}, "the network has a FireThenAdd"),
        ({"encoder": sp.Latency()}, "with the encoder Direct, not Latency"),
        ({"readout": sp.FirstSpike()}, "end with a linear layer, and the readout MeanCurrent"),
        ({"neuron": sp.SynapticLIF()}, "the network has a StatefulLayer"),
    ],
    ids=lambda value: "",
)
def test_programs_of_other_networks_are_refused(choices, said):
    network = sp.Network(**{"architecture": sp.MLP(hidden=(3,)), "steps": 2} | choices).build((1, 8, 8), 3)
    with pytest.raises(sp.UserError, match=said):
        sp.BranchAndBound().prover(network)
    sp.IntervalBounds().prover(network)


@pytest.fixture
def run(tmp_path):
    network = sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2)
    folder, config = Run(tmp_path / "net"), to_config(sp.Recipe(name="net", network=network))["init_args"]
    folder.write(RunRecord(name="net", config=config, seed=0, finished="2026-01-01T00:00:00"))
    data = sp.Digits
    model = network.build(data.shape, 10, mean=data.mean, std=data.std)
    write_model(folder, model.state_dict(), network, data.shape, 10, data.mean, data.std)
    return folder


def test_the_command_writes_what_certify_finds_and_the_report_shows_it(run, tmp_path, capsys):
    main(["certify", str(run.path), "--certificate", "IntervalBounds", "--eps", "0.01", "--images", "5"])
    assert "IntervalBounds(eps=0.01)" in " ".join(capsys.readouterr().out.split())
    record, arrays = read_certificates(run)
    found = sp.certify(sp.load_model(run.path), sp.Digits(), sp.IntervalBounds(eps=0.01), images=5)
    assert np.array_equal(arrays["radius"], found.radius)
    assert (record.norm, record.voted, record.own, record.passes, record.refuted) == ("Linf", False, True, 0, 0)
    page = sp.write_report([Run(run.path)], tmp_path / "report.md")
    assert "IntervalBounds" in (tmp_path / "report.md").read_text(), page


def test_the_command_keeps_what_refutes_and_the_report_says_it(run, tmp_path):
    options = ["--eps", "0.3", "--images", "3", "--certificate.attack", "PGD", "--certificate.attack.steps", "3"]
    main(["certify", str(run.path), "--certificate", "BranchAndBound", *options])
    record, arrays = read_certificates(run)
    assert record.refuted == np.isfinite(arrays["limit"]).sum() > 0
    sp.write_report([Run(run.path)], tmp_path / "report.md")
    assert "one of another class was found within the size" in (tmp_path / "report.md").read_text()


def test_no_other_certificate_takes_eps(run, fails):
    assert "GaussianSmoothing has no field 'eps'" in fails("certify", str(run.path), "--eps", "0.01")
    assert "eps of IntervalBounds must be" in fails(
        "certify", str(run.path), "--certificate", "IntervalBounds", "--eps", "0"
    )

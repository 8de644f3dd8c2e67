"""Certificates in a run folder: written once, tied to its weights, refused when they were changed."""

from dataclasses import replace

import numpy as np
import pytest

import spikeproof as sp
from spikeproof.certificates.certification import STATES
from spikeproof.cli import main
from spikeproof.configs import to_config
from spikeproof.runs import Run
from spikeproof.runs.certificate_files import read_certificates
from spikeproof.runs.records import CertificatesRecord, RunRecord
from spikeproof.runs.weights import write_model

NETWORK = sp.Network(architecture=sp.MLP(hidden=(8,)), encoder=sp.RSC(sigma=0.25), steps=2)
QUICK = sp.GaussianSmoothing(n=50, first=10)


@pytest.fixture
def run(tmp_path):
    """As training leaves it, but for its metrics."""
    folder, config = Run(tmp_path / "net"), to_config(sp.Recipe(name="net", network=NETWORK))["init_args"]
    folder.write(RunRecord(name="net", config=config, seed=0, finished="2026-01-01T00:00:00"))
    write_weights(folder, seed=0)
    return folder


def write_weights(folder, seed):
    model = NETWORK.build(sp.Digits.shape, 10, mean=sp.Digits.mean, std=sp.Digits.std, seed=seed)
    write_model(folder, model.state_dict(), NETWORK, sp.Digits.shape, 10, sp.Digits.mean, sp.Digits.std)


def test_the_command_writes_what_certify_finds(run, capsys):
    main(["certify", str(run.path), "--sigma", "0.25", "--n", "50", "--images", "4", "--certificate.first", "10"])
    said = capsys.readouterr().out
    assert "net" in said
    assert "GaussianSmoothing(n=50, first=10)" in " ".join(said.split())
    record, arrays = read_certificates(run)
    found = sp.certify(sp.load_model(run.path), sp.Digits(), QUICK, images=4)
    assert np.array_equal(arrays["votes"], found.votes)
    assert np.array_equal(arrays["radius"], found.radius)
    assert (record.norm, record.images, record.pixels, record.passes) == ("L2", 4, 64, 200)
    assert record.own
    assert record.voted
    assert record.network_sha256 == run.stated("model.safetensors")[0]
    assert not list(run.path.glob(STATES))


def test_it_is_done_once_for_the_same_settings(run):
    sp.certify_run(run, QUICK, images=2)
    before = (run.path / CertificatesRecord.FILE).stat().st_mtime_ns
    sp.certify_run(run, QUICK, images=2)
    assert (run.path / CertificatesRecord.FILE).stat().st_mtime_ns == before
    for other in ({"seed": 1}, {"images": 3}, {"at": sp.L2(0.01)}):
        sp.certify_run(run, QUICK, **{"images": 2, **other})
        after = (run.path / CertificatesRecord.FILE).stat().st_mtime_ns
        assert after != before
        before = after


def test_what_was_changed_is_refused(run):
    sp.certify_run(run, QUICK, images=3)
    file = run.path / CertificatesRecord.FILE
    whole = file.read_text()
    file.write_text(whole.replace('"abstained": ', '"abstained": 1'))
    with pytest.raises(sp.UserError, match="it was changed after it was written"):
        read_certificates(run)
    file.write_text(whole)
    arrays = run.read_arrays("certificates.npz")
    run.write_arrays("certificates.npz", arrays | {"radius": arrays["radius"] + 1})
    with pytest.raises(sp.UserError, match="is that of another certification, or was changed"):
        read_certificates(run)
    run.write_arrays("certificates.npz", arrays)
    record, _ = read_certificates(run)
    run.write(replace(record, mean_radius=record.mean_radius + 0.1))
    with pytest.raises(sp.UserError, match=r"mean_radius is .*where certificates\.npz makes"):
        read_certificates(run)


def test_certificates_of_other_weights_are_refused_by_the_report(run, tmp_path):
    sp.certify_run(run, QUICK, images=2)
    sp.write_report([Run(run.path)], tmp_path / "report.md")
    write_weights(run, seed=1)
    with pytest.raises(sp.UserError, match=r"is of other weights than .* beside it: certify the run again"):
        sp.write_report([Run(run.path)], tmp_path / "report.md")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sigma", "0"], "sigma of GaussianSmoothing must be"),
        (["--n", "5"], "n 5 is too small to certify anything at alpha 0.001"),
        (["--alpha", "0.6"], "alpha of GaussianSmoothing must be"),
        (["--certificate", "SharedThresholds", "--n", "50"], "SharedThresholds has no field 'n'"),
        (["--certificate", "RateCodingL1"], "is about the encoder Poisson, and the network has RSC"),
        (
            ["--certificate", "GausianSmoothing"],
            "there is no Certificate 'GausianSmoothing'; did you mean 'GaussianSmoothing'?",
        ),
        (["--sigma", "0.5"], "the network draws noise of its own, sigma=0.25"),
        (["--threat", "Linf"], "--threat says what --at is a size of"),
        (["--at", "3", "--n", "50"], "no image can be certified against L2 3"),
        (["--images", "100000"], "the test part has"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused(run, fails, options, said):
    assert said in fails("certify", str(run.path), *options)


def test_a_run_that_has_not_finished_is_refused(run, fails):
    run.write(replace(run.record, finished=None))
    assert "has not finished: start its command again, then certify" in fails("certify", str(run.path))


def test_sizes_are_those_of_the_threat_that_is_named(run):
    main(["certify", str(run.path), "--n", "50", "--images", "2", "--threat", "Linf", "--at", "1/255"])
    assert read_certificates(run)[0].least == pytest.approx(8 / 255)  # the root of 64 pixels
    main(["certify", str(run.path), "--n", "50", "--images", "2", "--at", "1/255"])
    assert read_certificates(run)[0].least == pytest.approx(1 / 255)

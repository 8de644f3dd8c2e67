"""Does the page show certificates under what attacks left, and a contradiction in red?"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from parsed_page import Page

from spikeproof.reports import write_report
from spikeproof.runs import Run
from spikeproof.runs.digests import digest_of_arrays
from spikeproof.runs.inscribed import inscribed
from spikeproof.runs.intervals import Interval
from spikeproof.runs.records import CertificatesRecord, Labelled

MakeRun = Callable[..., Run]
IMAGES = 100


def certify(run: Run, radius: np.ndarray, **other: object) -> Run:
    """Writes certificates of 100 images that are all right, under the labels of `make_run`."""
    label = np.arange(IMAGES) % 10
    arrays = {"label": label, "prediction": label, "radius": radius, "p": np.full(IMAGES, 0.9)}
    arrays |= {"votes": np.full(IMAGES, 950), "draws": np.full(IMAGES, 1000)}
    config = {"class_path": "GaussianSmoothing", "init_args": {"sigma": 0.25, "alpha": 0.001}}
    record = CertificatesRecord(
        certificate=Labelled(label="GaussianSmoothing", config=config),
        norm="Linf",
        voted=True,
        own=True,
        images=IMAGES,
        pixels=64,
        least=0.0,
        accuracy=Interval.of(IMAGES, IMAGES),
        abstained=int((radius == 0).sum()),
        given_up=0,
        mean_radius=float(radius.mean()),
        largest_radius=float(radius.max()),
        passes=1000 * IMAGES,
        data={"class_path": "Digits", "init_args": {}},
        part="test",
        arrays_sha256=digest_of_arrays(arrays),
    )
    run.write_arrays("certificates.npz", arrays)
    run.write(replace(record, **other))
    return run


def below(share: float, radius: float) -> np.ndarray:
    """The first images have a radius: those that `make_run` leaves unbroken the longest."""
    return np.where(np.arange(IMAGES) < share * IMAGES, radius, 0.0)


def test_the_section_has_a_curve_a_table_and_no_fault(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(certify(make_run("net"), below(0.4, 9 / 255)))
    assert ("a", "href", "#certificates") in page.attributes
    assert "What no attack can break" in page.text
    (row,) = [row for row in page.rows if any("GaussianSmoothing" in cell for cell in row)]
    assert "Linf" in row
    assert any("8/255: 40.0" in cell.replace("\u202f", " ") for cell in row)
    assert row[-1].strip() == "0"
    assert ("p", "class", "fault") not in page.attributes
    (drawing,) = page.drawings("certified")
    assert "stroke-dasharray" in drawing
    assert "Each bound is wrong with a probability of 0.001 at most" in page.text
    assert "was attacked as the mean of 1 passes, and is certified as the majority" in page.text


def test_certified_and_broken_is_shown_in_red(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(certify(make_run("net"), below(0.65, 3 / 255)))  # 60 hold at 4/255, and 80 at 2/255
    assert ("p", "class", "fault") not in page.attributes
    page = report(certify(make_run("net"), below(0.65, 5 / 255)))
    assert ("p", "class", "fault") in page.attributes
    assert "net, Linf(4/255): 5 images (60, 61, 62, 63 and 64) certified, and broken by an attack" in page.text
    assert "a fault of spikeproof, unless the 1 passes" in page.text


def test_other_classifiers_are_not_held_against_each_other(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(certify(make_run("net"), below(0.9, 1.0), own=False))
    assert ("p", "class", "fault") not in page.attributes
    assert "attacked without the noise of its certificate" in page.text


def test_another_norm_is_said_and_shrunk(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(certify(make_run("net"), below(0.65, 5 / 255 * 8), norm="L2"))  # 8: the root of 64 pixels
    assert "certified in L2, and was attacked in Linf" in page.text
    assert "0.125 of its radius on 64 values" in page.text
    assert "5 images (60, 61, 62, 63 and 64) certified, and broken" in page.text


def test_other_images_and_none_are_shown_alone(make_run: MakeRun, report: Callable[..., Page], tmp_path: Path) -> None:
    alone = certify(make_run("alone", robust=None), below(0.5, 0.1), norm="L2")
    page = report(alone)
    assert "alone has no verdicts on the same images" in page.text
    assert len(page.drawings("certified")) == 1
    other = certify(make_run("other"), below(0.9, 1.0), part="validation")
    assert ("p", "class", "fault") not in report(other).attributes
    text = write_report([alone, other], tmp_path / "report.md").read_text()
    assert "| alone | GaussianSmoothing | L2 |" in text


def test_nothing_is_shown_where_nothing_is_certified(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net"))
    assert "certificates" not in {value for _, name, value in page.attributes if name == "id"}


@pytest.mark.parametrize(
    ("outer", "inner", "radius"),
    [
        ("L2", "Linf", 1 / 8),
        ("L2", "L1", 1),
        ("L1", "L2", 1 / 8),
        ("L1", "Linf", 1 / 64),
        ("Linf", "L2", 1),
        ("L2", "L2", 1),
        ("L2", "EventFlips", 0),
    ],
)
def test_a_ball_inside_another(outer: str, inner: str, radius: float) -> None:
    assert inscribed(outer, inner, 64) == pytest.approx(radius)

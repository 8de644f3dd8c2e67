"""Does the page say what the run folders say, safely, offline and the same every time?"""

import base64
import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from parsed_page import Page
from PIL import Image

from spikeproof.choices import UserError
from spikeproof.reports import write_report
from spikeproof.reports.examples.pictures import gallery
from spikeproof.reports.examples.rasters import MOST_NEURONS, rasters
from spikeproof.reports.wording import duration, size, spelled
from spikeproof.runs import Run

MakeRun = Callable[..., Run]
KINDS = ("image/png", "text/csv", "application/json", "text/plain")


def test_the_table_shows_every_number_with_its_interval(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("second", robust=(0.8, 0.6, 0.4)), make_run("first", robust=(0.8, 0.7, 0.6)))
    first = page.row("first")
    assert first[0] == "1"
    assert first[2] == "CrossEntropy()"
    assert [cell.split("%")[0].strip() for cell in first[3:7]] == ["90.0", "80.0", "70.0", "60.0"]
    assert re.search(r"50\.\d–69\.\d", first[6])
    assert first[7:] == ["40", "1 min 35 s", "12 345"]
    assert page.text.index("first holds best") < page.text.index("Accuracies are shares")
    assert "of 100 images of Digits (test part) right under Linf(8/255), attacked by the quick suite" in page.text


def test_unreliable_and_unevaluated_rows_have_no_number(make_run: MakeRun, report: Callable[..., Page]) -> None:
    masked = make_run("masked", robust=(0.77, 0.77, 0.77), status="zero_gradient", reason="No gradient moves.")
    page = report(masked, make_run("later", robust=None), make_run("plain"))
    assert page.row("masked")[4] == "zero gradient No gradient moves."
    assert page.row("later")[2] == "not evaluated"
    assert "77.0" not in page.text
    names = [row[1].strip() for row in page.rows if len(row) > 5 and row[0].strip() in ("1", "–")]
    assert names == ["plain", "masked"]


def test_a_page_without_any_verdict(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("later", robust=None))
    assert "none of the 1 network has been evaluated" in page.text
    assert "curves" not in page.values("id")


def test_names_and_titles_are_escaped(make_run: MakeRun, report: Callable[..., Page]) -> None:
    evil = "<script>alert(1)</script> & $x_1$"
    run = make_run(evil, folder="evil", pictures=(8, 1), status="ok", part="<b>")
    page = report(run, title="<script>")
    assert "script" not in {tag for tag, _, _ in page.attributes}
    assert (run.path.parent / "report.html").read_text().count("<script") == 1  # the page's own
    assert page.row("<script>alert")[1] == evil


def test_nothing_is_fetched(make_run: MakeRun, report: Callable[..., Page], tmp_path: Path) -> None:
    page = report(make_run("net", pictures=(8, 3)), make_run("other", images=50))
    for value in page.values("src") + page.values("href") + page.values("xlink:href"):
        assert value.startswith(("#", *(f"data:{kind};base64," for kind in KINDS)))
    source = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?:|@import|@font-face|<link|<iframe", source)
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in source
    assert all(url.startswith("#") for url in re.findall(r"url\((.*?)\)", source))


def test_ids_are_unique_and_links_lead_somewhere(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("a", pictures=(8, 1)), make_run("b", pictures=(8, 1)), make_run("c", images=50))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = [v for v in page.values("href") + page.values("xlink:href") if v.startswith("#")]
    named = " ".join(page.values("aria-labelledby")).split()
    assert {link[1:] for link in links} | set(named) <= set(ids)
    clips = re.findall(r"url\(#(.*?)\)", " ".join(value for _, _, value in page.attributes))
    assert set(clips) <= set(ids)


def test_figures_follow_the_page(make_run: MakeRun, report: Callable[..., Page], tmp_path: Path) -> None:
    page = report(make_run("net", pictures=(8, 1)))
    source = (tmp_path / "report.html").read_text()
    figures = "".join(re.findall(r'<svg class="figure".*?</svg>', source, re.DOTALL))
    assert "var(--series-0)" in figures
    assert "currentColor" in figures
    assert not re.search(r"#[0-9a-f]{6}\b|DejaVu", figures)
    assert all(value for tag, name, value in page.attributes if (tag, name) == ("img", "alt"))


def test_incomparable_rows_are_announced(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("a"), make_run("b", images=50))
    assert "These networks are not all comparable" in page.text
    assert "number of images A 100 B 50" in page.text
    assert "These networks are not all comparable" not in report(make_run("a"), make_run("c")).text


def test_seeds_are_explained(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(*[make_run("net", folder=f"n{s}", seed=s, robust=(0.8, 0.6, 0.3 + s / 10)) for s in (0, 2)])
    assert page.row("net")[1] == "net 2 seeds"
    assert page.row("net")[6].startswith("40.0 % ")
    assert page.row("net")[6].endswith("seeds 30.0–50.0")
    assert "Several seeds." in page.text
    assert "Several seeds." not in report(make_run("single")).text


def test_same_runs_same_bytes(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("a", pictures=(8, 1)), make_run("b", images=50)]
    one, two = write_report(runs, tmp_path / "1.html"), write_report(runs, tmp_path / "2.html")
    assert one.read_bytes() == two.read_bytes()


# numpy leaves a truncated archive open until it is collected
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("file", ["run.json", "metrics.jsonl", "verdicts.json", "verdicts.npz", "examples.npz"])
def test_a_damaged_file_is_named_and_no_page_is_left(make_run: MakeRun, tmp_path: Path, file: str) -> None:
    run = make_run("net", pictures=(8, 1))
    whole = (run.path / file).read_bytes()
    (run.path / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=re.escape(file)):
        write_report([run], tmp_path / "out" / "report.html")
    assert not list(tmp_path.glob("out/*"))


def test_no_runs_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs to report"):
        write_report([], tmp_path / "report.html")


def test_difference_is_symmetric_around_grey() -> None:
    clean = np.full((1, 1, 2, 2), 0.5, np.float32)
    change = np.array([[[[0, 8], [-8, 4]]]]) / 255
    arrays = {"clean": clean, "adversarial": clean + change, "threat": np.array("Linf(8/255)")}
    arrays |= {"label": np.array([0]), "clean_prediction": np.array([0]), "adversarial_prediction": np.array([1])}
    shown = gallery(arrays | {"classes": np.array(["cat", "dog"])})
    assert shown.scale == "8/255"
    (picture,) = shown.pictures
    assert (picture.truth, picture.after, picture.outcome) == ("cat", "dog", "broken")
    pixels = Image.open(io.BytesIO(base64.b64decode(picture.difference.partition(",")[2])))
    assert np.asarray(pixels).tolist() == [[128, 255], [0, 191]]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "RGB"), (3, "RGB"), (5, "L")])
def test_images_of_any_channels_are_drawn(make_run: MakeRun, channels: int, mode: str) -> None:
    arrays = make_run("net", pictures=(8, channels)).read_arrays("examples.npz")
    picture = gallery(arrays).pictures[0]
    assert Image.open(io.BytesIO(base64.b64decode(picture.clean.partition(",")[2]))).mode == mode


def test_raster_counts_all_neurons_and_draws_some() -> None:
    before, after = np.zeros((4, 1000), bool), np.zeros((4, 1000), bool)
    before[0, :100] = True
    after[0, 50:100] = after[1, :30] = True
    (raster,) = rasters({"spikes/a/b/clean": before, "spikes/a/b/adversarial": after})
    assert (raster.layer, raster.appeared, raster.vanished) == ("a/b", 30, 50)
    assert (raster.rate_before, raster.rate_after) == (0.025, 0.02)
    assert raster.shown == MOST_NEURONS


def test_wording() -> None:
    nested = {
        "class_path": "spikeproof.TRADES",
        "init_args": {"eps": 8 / 255, "a": {"class_path": "PGD", "init_args": {"n": 7}}},
    }
    assert spelled(nested) == "TRADES(eps=8/255, a=PGD(n=7))"
    assert spelled(nested, depth=1) == "TRADES(eps=8/255, a=PGD(…))"
    assert [size(x) for x in (0.2, 0.5, 2 / 255, 0.031, 1.0)] == ["0.2", "0.5", "2/255", "0.031", "1"]
    assert [duration(s).replace("\u202f", "") for s in (0.5, 59.6, 95, 3725)] == [
        "0.5s",
        "1min 00s",
        "1min 35s",
        "1h 02min",
    ]


def test_importing_is_cheap() -> None:
    heavy = "import sys, spikeproof.reports; print({'matplotlib', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

"""Does the page of recordings show what was recorded and changed, and speak of events and recordings alone?"""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from parsed_page import Page
from PIL import Image
from run_folders import choice, event_examples, flags, reread

import spikeproof as sp
from spikeproof.choices import UserError
from spikeproof.evaluation.examples import examples
from spikeproof.reports import write_report
from spikeproof.reports.examples.animations import animation
from spikeproof.reports.examples.recordings import recordings
from spikeproof.reports.examples.surfaces import ADDED, HALF, OFF, ON, REMOVED, surface
from spikeproof.reports.figures.curves import accuracy_curves
from spikeproof.reports.forms.sentences import conclude
from spikeproof.reports.reading.rankings import standings
from spikeproof.reports.wording import noun, spelled
from spikeproof.runs import Run

KINDS = ("image/png", "image/gif", "text/csv", "application/json", "text/plain")
MakeRun = Callable[..., Run]
STEPS = 4


def flipped(count: int = 3, steps: int = STEPS, side: int = 8, polarities: int = 2) -> dict[str, np.ndarray]:
    """Recordings with one event in ten cells, of which a twentieth are flipped."""
    generator = np.random.default_rng(0)
    clean = (generator.random((count, steps, polarities, side, side)) < 0.1).astype(np.float32)
    return event_examples(clean, np.abs(clean - (generator.random(clean.shape) < 0.05)).astype(np.float32))


def nudged(count: int = 3) -> dict[str, np.ndarray]:
    """Frames of real values, a quarter up or down."""
    arrays = flipped(count)
    way = np.random.default_rng(1).choice([-0.25, 0.25], arrays["clean"].shape)
    attacked = np.clip(arrays["clean"] + way, 0, 1).astype(np.float32)
    return event_examples(arrays["clean"], attacked, "frame Linf 0.25")


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def pixels(uri: str) -> np.ndarray:
    return np.asarray(opened(uri).convert("RGB"))


def test_a_time_surface_is_brighter_the_later_the_last_event() -> None:
    frames = np.zeros((3, 2, 1, 4))
    frames[:, 0, 0, 0] = 1, 0, 0  # off, two frames ago
    frames[:, 1, 0, 1] = 1, 2, 0  # on, a frame ago
    frames[2, :, 0, 2] = 1  # both, in the last frame
    ages = np.exp(-np.array([2, 1, 0]))  # tau is one frame
    expected = [ages[0] * np.array(OFF), ages[1] * np.array(ON), np.minimum(np.add(OFF, ON), 255), (0, 0, 0)]
    assert surface(frames)[0].tolist() == np.round(expected).tolist()
    fraction = np.array([0.5, 0.125, 0.25]).reshape(3, 1, 1, 1)  # one polarity; the last is brightest
    assert surface(fraction)[0, 0].tolist() == [round(2 * HALF[0] * 0.25)] * 3


def test_the_change_is_summed_over_time_in_two_colours() -> None:
    clean = np.zeros((1, 2, 2, 1, 4), np.float32)
    attacked = clean.copy()
    attacked[0, :, :, 0, 0] = 1  # four added
    clean[0, 0, 0, 0, 1] = 1  # one removed
    clean[0, 0, 0, 0, 2] = attacked[0, 1, 0, 0, 2] = 1  # one moved
    found = recordings(event_examples(clean, attacked))
    assert found.most == 4
    assert pixels(found.shown[0].change)[0].tolist() == [
        list(ADDED),
        [round(0.5 * level) for level in REMOVED],
        [min(255, round(0.5 * (a + b))) for a, b in zip(ADDED, REMOVED, strict=True)],
        [0, 0, 0],
    ]
    assert found.cells(found.shown[0]) == ["2", "5", "4", "1", "1", "300.0\u202f%"]


@pytest.mark.parametrize(("steps", "side", "polarities"), [(1, 5, 2), (4, 8, 2), (10, 17, 2), (40, 3, 1), (6, 100, 1)])
def test_an_animation_has_a_frame_for_each_step(steps: int, side: int, polarities: int) -> None:
    still = np.zeros((steps, polarities, side, side), np.float32)  # nothing ever changes but the time
    still[:, 0, 0, 0] = 1
    for clean, attacked in ((still, still), (still, 1 - still)):
        picture = opened(animation(clean, attacked))
        assert (picture.format, getattr(picture, "n_frames", 1)) == ("GIF", steps)
        shown = min(side, 48, -(-side // -(-side // 48)))
        assert picture.size == (3 * shown + 2, shown + 2)
        if steps > 1:
            assert picture.info["loop"] == 0


def test_frames_are_clean_attacked_and_change_side_by_side() -> None:
    clean, attacked = np.zeros((2, 2, 2, 2), np.float32), np.zeros((2, 2, 2, 2), np.float32)
    clean[0, 0, 0, 0] = attacked[0, 0, 0, 0] = 1  # off, kept
    clean[1, 1, 0, 1] = 1  # on, removed in the second frame
    attacked[1, 0, 1, 0] = 1  # off, added
    picture = opened(animation(clean, attacked))
    black, seen = (0, 0, 0), []
    for frame in range(2):
        picture.seek(frame)
        seen.append(np.asarray(picture.convert("RGB")))
    panel = [[tuple(row.tolist()) for row in seen[1][y]] for y in range(2)]
    assert seen[0][0, 0].tolist() == seen[0][0, 3].tolist() == list(OFF)
    assert not seen[0][:2, 6:].any()
    assert (panel[0][:2], panel[1][:2]) == ([black, ON], [black, black])
    assert (panel[0][3:5], panel[1][3:5]) == ([black, black], [OFF, black])
    assert (panel[0][6:], panel[1][6:]) == ([black, REMOVED], [ADDED, black])
    bar = [frame[-1].mean() for frame in seen]
    assert bar[0] < bar[1] == 235


def test_large_sensors_are_joined_and_rows_of_channels_seen() -> None:
    found = recordings(flipped(1, side=130))
    assert found.joined
    assert opened(found.shown[0].clean).size == (44, 44)
    assert not recordings(flipped(1)).joined
    row = np.zeros((1, 5, 1, 1, 120), np.float32)
    row[0, -1, 0, 0, 0] = 1
    (shown,) = recordings(event_examples(row, row)).shown
    assert opened(shown.clean).size == (60, 15)
    assert (pixels(shown.clean)[:, 0] == 255).all()
    assert opened(shown.change).size == (60, 15)


def test_the_page_counts_events(make_recorded: MakeRun, report: Callable[..., Page]) -> None:
    arrays = flipped()
    page = report(make_recorded("net", shown=arrays))
    clean, attacked = arrays["clean"][0], arrays["adversarial"][0]
    cells = page.row("1: gesture 0")
    assert cells[1:3] == [f"{clean.sum():.0f}", f"{attacked.sum():.0f}"]
    added, removed, moved = (int(cell) for cell in cells[3:6])
    assert added + moved == ((attacked > clean).sum())
    assert removed + moved == ((attacked < clean).sum())
    assert cells[6] == f"{100 * (added + removed + moved) / clean.sum():.1f} %"
    assert "Whole events, as a camera delivers them, one at most in each cell" in page.text
    assert "off first" in page.text
    assert f"{added} added, {removed} removed and {moved} moved, of {clean.sum():.0f} events" in page.source
    assert "Under 20 flips" in page.text
    assert "2: gesture 1 gesture 1 → gesture 2 broken" in page.text


def test_the_page_counts_cells_where_events_are_fractions(make_recorded: MakeRun, report: Callable[..., Page]) -> None:
    arrays = nudged()
    page = report(make_recorded("net", kind="FrameLinf", label="frame Linf {:g}", eps=(0.1, 0.2, 0.25), shown=arrays))
    change = arrays["adversarial"][0].astype(float) - arrays["clean"][0]
    cells = page.row("1: gesture 0")
    assert cells[3:5] == [str((change != 0).sum()), f"{100 * (change != 0).mean():.1f} %"]
    assert cells[5:] == [
        f"{part:.1f}" for part in (np.abs(change).sum(), change[change > 0].sum(), -change[change < 0].sum())
    ]
    assert "fractions of an event, which no camera delivers" in page.text
    assert "added, 0 removed" not in page.source


def test_one_polarity_is_neither_off_nor_on(make_recorded: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_recorded("net", shown=flipped(polarities=1)))
    assert "off first" not in page.text
    assert "τ = 1.33 frames. Change:" in page.text


def test_every_picture_is_told_and_nothing_moves_unasked(make_recorded: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_recorded("a", shown=flipped()), make_recorded("b", shown=nudged()))
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    told = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(sources) == len(told) == 2 * 3 * 4
    assert all(told)
    moving = re.findall(r'<details class="moving">(.*?)</details>', page.source, re.DOTALL)
    assert len(moving) == 2
    assert sum(part.count("data:image/gif;base64,") for part in moving) == 6 == page.source.count("data:image/gif")
    assert all(re.match(r"<summary>", part) for part in moving)
    rasters = re.findall(r'<svg class="raster"[^>]*>', page.source)
    assert all('role="img" aria-label="' in svg for svg in rasters)
    regions = re.findall(r'<div class="wide[^>]*>', page.source)
    assert all('tabindex="0" role="region" aria-label="' in region for region in regions)


def test_nothing_is_fetched_ids_are_unique_and_bytes_the_same(make_recorded: MakeRun, tmp_path: Path) -> None:
    runs = [make_recorded("a", shown=flipped(), probed={}), make_recorded("b", shown=nudged())]
    one, two = (write_report(runs, tmp_path / name) for name in ("1.html", "2.html"))
    assert one.read_bytes() == two.read_bytes()
    page = Page(one)
    for value in page.values("src") + page.values("href") + page.values("xlink:href"):
        assert value.startswith(("#", *(f"data:{kind};base64," for kind in KINDS)))
    assert len(page.values("id")) == len(set(page.values("id")))
    assert not re.search(r"https?:|@import|<link", page.source)


def test_the_page_speaks_of_recordings(make_recorded: MakeRun, report: Callable[..., Page]) -> None:
    raised = flags(one_step_beats_many=0.5)
    raised[0] |= {"name": "keeps a state", "meaning": "Logits depend on the recording before.", "details": {}}
    raised = [flag | {"meaning": flag["meaning"].replace("image", "recording")} for flag in raised]
    options = {
        "flags": raised,
        "shown": flipped(),
        "probed": {"data": choice("EventFolder"), "threat": {"config": choice("FrameLinf", eps=8 / 255)}},
    }
    page = report(*(make_recorded("net", folder=f"n{s}", seed=s, **options) for s in (0, 1)))
    assert "eps counts cells flipped. Networks differ" in page.text
    assert "pixel units" not in page.text
    prose = re.sub(r"<pre.*?</pre>", "", page.source, flags=re.DOTALL)
    prose = re.sub(
        r"(validation|train|test)_images|data:image|image-rendering|role=\"img\"|<img|<svg|<image", "", prose
    )
    assert "image" not in prose.lower()
    assert "of 100 recordings of EventFolder (test part) right under 100 flips" in page.text
    assert "keeps a state Logits depend on the recording before." in page.text
    assert "Share of 100 recordings" in page.text
    assert "exceed 1 % of their recording’s largest" in page.text
    assert "/255" not in re.sub(r"data:[^\"]*", "", prose)


def test_sentences_of_the_evaluation_are_shown_as_it_wrote_them(
    make_recorded: MakeRun, report: Callable[..., Page]
) -> None:
    page = report(make_recorded("net", status="nan", reason="logits are NaN for 3 of 60 images"))
    assert "logits are NaN for 3 of 60 images" in page.text
    assert [noun(kinds).many for kinds in ([], [True], [True, False])] == [
        "images",
        "recordings",
        "images or recordings",
    ]


@pytest.mark.parametrize(
    ("kind", "label", "eps", "fields", "axis"),
    [
        ("FrameLinf", "frame Linf {:g}", (8 / 255, 0.25, 0.5), {}, "eps: events a cell, Linf norm"),
        ("FrameL2", "frame L2 {:g}", (8 / 255, 5, 10), {}, "eps: events, L2 norm over all cells"),
        ("EventFlips", "{:g} flips", (5, 20, 100), {"only": None}, "eps: cells flipped"),
        ("EventFlips", "{:g} insertions", (5, 20, 100), {"only": "insert"}, "eps: events inserted"),
        ("EventEdits", "{:g} edits", (5, 20, 100), {}, "eps: events added, removed or moved"),
        ("Retiming", "retiming, jitter of {:g} frames", (1, 2, 3), {"by": "jitter"}, "eps: frames that any one event"),
        ("Retiming", "retiming, {:g} events moved", (1, 2, 3), {"by": "moved"}, "eps: events moved"),
    ],
)
def test_axes_are_in_events_or_frames(
    make_recorded: MakeRun, kind: str, label: str, eps: tuple, fields: dict, axis: str
) -> None:
    drawing = curve(make_recorded("net", kind=kind, label=label, eps=eps, fields=fields))
    assert f">{axis}" in drawing
    assert [f">{size:g}</text>" in drawing for size in eps] == [True] * 3
    assert "Accuracy, % of recordings" in drawing


def curve(run: Run) -> str:
    (comparison,) = standings([run]).comparisons
    return str(accuracy_curves(comparison, {"net": 0}))


@pytest.mark.parametrize(
    ("norm", "axis"),
    [("L0", "events changed"), ("delay", "frames that all"), ("Linf", "events a cell"), ("Own", "Own")],
)
def test_a_norm_without_its_choice_is_understood(make_recorded: MakeRun, norm: str, axis: str) -> None:
    run = make_recorded("net")
    threats = run.read_json("verdicts.json")["threats"]
    threats = [{name: value for name, value in t.items() if name != "config"} | {"norm": norm} for t in threats]
    reread(run, "verdicts.json", threats=threats)
    assert f">eps: {axis}" in curve(run)


def test_recordings_are_known_by_any_of_the_files(make_run: MakeRun, make_recorded: MakeRun) -> None:
    def lede(run: Run) -> str:
        return conclude(standings([run]))[0].lede

    own = {"data": choice("Own"), "choices": {"data": choice("Own")}}
    assert "of 100 recordings of Own" in lede(make_recorded("threat", **own))
    run = make_run("shape", **own)
    assert "of 100 images of Own" in lede(run)
    run.write_json("model.json", {"shape": [10, 2, 17, 17], "classes": 10})
    assert "of 100 recordings of Own" in lede(run)
    run.write_json("model.json", {"shape": [3, 32, 32]})
    assert "of 100 images of Own" in lede(run)
    run.write_json("model.json", [])
    with pytest.raises(UserError, match=r"model\.json is not as"):
        lede(run)


def test_what_an_evaluation_writes_is_shown() -> None:
    network = sp.Network(architecture=sp.MLP(hidden=(8,)), encoder=sp.Frames()).build((STEPS, 2, 6, 6), 10)
    x = torch.from_numpy(flipped(2, side=6)["clean"])
    attack, threat = sp.UniformNoise(draws=2), sp.EventFlips(20)
    arrays = examples(network, x, torch.tensor([1, 2]), threat, attack, tuple("0123456789"))
    found = recordings(arrays)
    assert (found.threat, found.whole, found.binary) == ("20 flips", True, True)
    for one in found.shown:
        assert one.touched.added + one.touched.removed + 2 * one.touched.moved == one.touched.cells <= 20


def test_configurations_of_threats_on_recordings_are_never_in_grey_levels() -> None:
    nested = choice("Adversarial", threat=choice("FrameLinf", eps=8 / 255), scale=8 / 255)
    assert spelled(nested) == "Adversarial(threat=FrameLinf(eps=0.0313725), scale=8/255)"


def test_images_and_recordings_on_one_page(
    make_run: MakeRun, make_recorded: MakeRun, report: Callable[..., Page]
) -> None:
    page = report(make_run("still", pictures=(8, 1)), make_recorded("moving", shown=flipped()))
    assert "of 100 images of Digits" in page.text
    assert "of 100 recordings of EventFolder" in page.text
    assert "An image or recording counts as robust" in page.text
    assert "choice of images or recordings (fingerprint of their labels) A" in page.text
    assert "eps is in pixel units, with pixels in [0, 1], where the data are images" in page.text
    assert "Each seed has its own split of train, validation and test in protocol" in page.text


def test_a_page_of_images_is_what_it_was(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", pictures=(8, 2), probed={}, flags=flags()))
    style = re.search(r"<style>\n(.*?)\n</style>", page.source, re.DOTALL)
    assert style
    css = Path(__file__).parents[2] / "spikeproof" / "reports" / "forms" / "report.css"
    assert style[1] == css.read_text(encoding="utf-8").rstrip("\n") or style[1] == css.read_text(encoding="utf-8")
    assert not re.search("recording|resplit|split of|data:image/gif", page.source)
    assert "eps is in pixel units, with pixels in [0, 1]. Networks differ" in page.text
    assert "An image counts as robust only if it is right without attack" in page.text
    assert "Spikes of the first image" in page.text


def test_damaged_examples_are_named(make_recorded: MakeRun, report: Callable[..., Page]) -> None:
    arrays = flipped()
    run = make_recorded("net", shown=arrays | {"adversarial": arrays["adversarial"][:, :2]})
    with pytest.raises(UserError, match=r"examples\.npz is not as spikeproof writes it"):
        report(run)
    arrays["adversarial"][0, 0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match=r"examples\.npz is not as spikeproof writes it"):
        report(make_recorded("other", shown=arrays))

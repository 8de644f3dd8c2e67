"""Is nothing compared image by image that was not met by both, where each seed has its own split?"""

from collections.abc import Callable
from pathlib import Path

import pytest
from parsed_page import Page
from run_folders import probes

from spikeproof.reports import ranking, write_report
from spikeproof.reports.forms.sentences import conclude
from spikeproof.reports.reading.probing import probed, settings
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run
from spikeproof.runs.intervals import Interval

MakeRun = Callable[..., Run]
PAIRED = "Recording by recording, which is sharper"


def remarks(*runs: Run) -> str:
    (conclusion,) = conclude(standings(list(runs)))
    return " ".join(conclusion.remarks)


def test_networks_of_one_seed_are_paired(make_recorded: MakeRun) -> None:
    told = remarks(make_recorded("a", seed=3), make_recorded("b", seed=3, robust=(0.8, 0.6, 0.35)))
    assert PAIRED in told
    assert "5 are held by the first alone and 0 by the second alone" in told
    assert "other recordings" not in told


def test_networks_of_other_seeds_are_ranked_and_not_paired(make_recorded: MakeRun) -> None:
    runs = [make_recorded("a", seed=0), make_recorded("b", seed=1, robust=(0.8, 0.6, 0.3))]
    assert [row.rank for row in ranking(runs)] == [1, 2]
    told = remarks(*runs)
    assert PAIRED not in told
    assert "The runner-up, b, keeps" in told
    assert "some were tested on other recordings" in told


def test_the_split_counts_and_not_the_seed(make_recorded: MakeRun) -> None:
    """A recipe's seed draws more than its split."""
    other = {"robust": (0.8, 0.6, 0.3)}
    assert PAIRED in remarks(make_recorded("a", seed=0, split=5), make_recorded("b", seed=1, split=5, **other))
    assert PAIRED not in remarks(make_recorded("c", split=5), make_recorded("d", split=6, **other))


def test_one_split_for_all_is_paired_whatever_the_seed(make_run: MakeRun) -> None:
    told = remarks(make_run("a", seed=0), make_run("b", seed=1, robust=(0.8, 0.6, 0.3)))
    assert "Image by image, which is sharper" in told
    assert "test part of its own" not in told


def test_several_seeds_are_one_row_with_the_interval_of_one_part(make_recorded: MakeRun) -> None:
    shares = (0.4, 0.3, 0.5)
    runs = [make_recorded("net", folder=f"n{s}", seed=s, robust=(0.8, 0.6, share)) for s, share in enumerate(shares)]
    (row,) = ranking(runs)
    worst = row.robust["100 flips"]
    assert (row.seeds, worst.spread) == ((0, 1, 2), (0.3, 0.5))
    assert (worst.low, worst.high) == pytest.approx((Interval.of(40, 100).low, Interval.of(40, 100).high))


def test_the_same_seeds_in_all_networks_are_no_caution(make_recorded: MakeRun) -> None:
    seeds = [
        make_recorded(name, folder=f"{name}{s}", seed=s, robust=(0.8, 0.6, r))
        for name, r in (("a", 0.4), ("b", 0.2))
        for s in (0, 1)
    ]
    assert "test part of its own" not in remarks(*seeds)
    assert "test part of its own" in remarks(*seeds[:3])


def test_the_page_says_so_once(make_recorded: MakeRun, make_run: MakeRun, report: Callable[..., Page]) -> None:
    runs = [make_recorded("net", folder=f"n{s}", seed=s) for s in (0, 1)]
    page = report(*runs)
    assert (
        "Each seed has its own split of train, validation and test : networks of the same seed met the same"
        in page.text
    )
    assert "Accuracies are shares of equally many recordings" in page.text
    assert "the interval is that of one part alone" in page.text
    assert "All seeds met the same" not in page.text
    assert "resplit" not in page.text.replace("resplit: true", "")
    alike = report(*(make_run("net", folder=f"m{s}", seed=s) for s in (0, 1)))
    assert "All seeds met the same images, so the interval counts each image once; it covers" in alike.text
    assert "own split" not in alike.text


def test_the_table_says_so(make_recorded: MakeRun, tmp_path: Path) -> None:
    runs = [make_recorded("a", seed=0), make_recorded("b", seed=1)]
    text = write_report(runs, tmp_path / "table.md").read_text(encoding="utf-8")
    assert "Data: 100 recordings of EventFolder(" in text
    assert "Gradients per recording" in text
    assert (
        "Each seed has its own split of train, validation and test. Networks of other seeds met other recordings."
        in text
    )
    assert "Wilson interval over recordings" in text
    assert "split_seed" not in text


def test_probes_of_several_splits_are_one_setting(make_recorded: MakeRun) -> None:
    """Each is of other recordings, as their accuracies are, and their mean is over the seeds."""
    runs = []
    for seed in (0, 1):
        run = make_recorded("net", folder=f"n{seed}", seed=seed)
        run.write_json("probes.json", probes() | {"data": run.read_json("verdicts.json")["data"]})
        runs.append(Run(run.path))
    (contender,) = standings(runs).contenders
    found = probed(contender)
    assert found
    assert found.seeds == (0, 1)
    (setting,) = settings([found])
    assert "64 recordings of EventFolder(framing=" in setting
    assert "split_seed" not in setting

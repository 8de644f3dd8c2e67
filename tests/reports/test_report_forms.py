"""Do the data and the table say what the page says, number by number?"""

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spikeproof.choices import UserError
from spikeproof.reports import ranking, write_report
from spikeproof.runs import Run

MakeRun = Callable[..., Run]
SEEDS = {0: (0.8, 0.6, 0.4), 1: (0.7, 0.5, 0.3), 2: (0.9, 0.7, 0.44)}


def seeds(make_run: MakeRun, **options: Any) -> list[Run]:
    return [make_run("net", folder=f"net-{s}", seed=s, robust=robust, **options) for s, robust in SEEDS.items()]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    return lambda *runs: json.loads(write_report(list(runs), tmp_path / "report.json").read_text(encoding="utf-8"))


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., list[list[str]]]:
    def parsed(*runs: Run) -> list[list[str]]:
        """The cells of all lines that are rows of a table; other lines are one cell."""
        text = write_report(list(runs), tmp_path / "report.md").read_text(encoding="utf-8")
        return [re.split(r"(?<!\\)\|", line)[1:-1] if line[:1] == "|" else [line] for line in text.splitlines() if line]

    return lambda *runs: [[cell.strip() for cell in line] for line in parsed(*runs)]


def test_json_has_every_field_of_a_row(make_run: MakeRun, rows: Callable[..., Any]) -> None:
    runs = [*seeds(make_run), make_run("other", robust=(0.5, 0.4, 0.2))]
    found = rows(*runs)
    assert [row["name"] for row in found] == ["net", "other"]
    for row, expected in zip(found, ranking(runs), strict=True):
        assert {name: row[name] for name in ("rank", "objective", "status", "reason", "protocol", "parameters")} == {
            name: getattr(expected, name)
            for name in ("rank", "objective", "status", "reason", "protocol", "parameters")
        }
        assert row["seeds"] == list(expected.seeds)
        assert (row["training_seconds"], row["gradient_evaluations"]) == (95, 40)
        for label, estimate in {"clean": expected.clean, **expected.robust}.items():
            given = row["clean"] if label == "clean" else row["robust"][label]
            assert estimate
            assert (given["value"], given["low"], given["high"]) == (estimate.value, estimate.low, estimate.high)
    assert found[0]["robust_by_seed"] == {
        label: [robust[index] for robust in SEEDS.values()] for index, label in enumerate(found[0]["robust"])
    }
    assert found[0]["clean_by_seed"] == [0.9] * 3
    assert found[0]["protocol_facets"]["number of images"] == "100"
    assert found[0]["data"]["class_path"] == "Digits"
    assert found[0]["probes"] is None


def test_json_names_versions_and_machines(make_run: MakeRun, rows: Callable[..., Any]) -> None:
    (row, later) = rows(make_run("net"), make_run("later", robust=None))
    (made,) = row["environments"]
    assert (made["run"], made["seed"]) == ("net", 0)
    assert made["training"] == {
        "versions": {"python": "3.11", "torch": "2.13"},
        "machine": {"processor": "abacus", "threads": 2},
    }
    assert made["evaluation"] == {"versions": {"torch": "2.13"}, "machine": {"threads": 2}}
    assert (later["clean"], later["robust"], later["protocol_facets"]) == (None, {}, None)
    assert later["environments"][0]["evaluation"] is None


def test_json_gives_an_unreliable_network_no_robust_accuracy(make_run: MakeRun, rows: Callable[..., Any]) -> None:
    (row,) = rows(*seeds(make_run)[:2], make_run("net", folder="x", seed=5, status="silent", reason="No neuron fires."))
    assert (row["status"], row["reason"], row["rank"]) == ("silent", "Seed 5: No neuron fires.", None)
    assert (row["robust"], row["robust_by_seed"]) == ({}, {})


def test_json_has_the_means_of_the_probes(make_run: MakeRun, rows: Callable[..., Any]) -> None:
    other = {"gradient": {"nonzero_share": 0.25, "above_1_percent_share": 0.1, "l1": 1.25}}
    runs = [make_run("net", folder=f"n{s}", seed=s, probed=p) for s, p in enumerate(({}, other))]
    (row,) = rows(*runs)
    found = row["probes"]
    assert found["seeds"] == [0, 1]
    assert (found["nonzero_share"], found["l1"], found["loss_rise_gap"]) == (0.5, 2.25, 1.25)
    assert found["last_layer_rms"] == pytest.approx(0.6)
    assert found["potential_perturbation"]["body.1"]["random"] == pytest.approx([0.05, 0.06, 0.07])
    assert found["setting"] == "PGD(steps=10) within Linf(eps=8/255), on the first 64 images of Digits(), test part"


def test_markdown_of_several_seeds_and_of_one(make_run: MakeRun, table: Callable[..., Any]) -> None:
    found = table(*seeds(make_run), make_run("one", robust=(0.8, 0.3, 0.2)))
    assert found[0][:4] == ["Rank", "Network", "Clean, %", "Linf(2/255), %"]
    assert found[0][-2:] == ["Gradients per image", "Training"]
    assert all(set(cell) <= set("-:") for cell in found[1])
    assert {len(line) for line in found[:4]} == {8}
    for column, values in enumerate(zip(*SEEDS.values(), strict=True), start=3):
        percent = [100 * value for value in values]
        mean, sd = statistics.fmean(percent), statistics.stdev(percent)
        assert found[2][column] == f"{mean:.1f} ± {sd:.1f} [{min(percent):.1f}]"
    assert found[2][5] == "38.0 ± 7.2 [30.0]"  # by hand: sqrt((2^2 + 8^2 + 6^2) / 2) = 7.21
    assert found[2][:3] == ["1", "net", "90.0 ± 0.0 [90.0]"]
    assert found[2][6:] == ["40.0", "1 min 35 s"]
    assert found[3][:2] == ["2", "one"]
    assert re.fullmatch(r"20\.0 \(13\.3–28\.9\)", found[3][5])
    (line,) = found[4]
    assert line.startswith(
        "Data: 100 images of Digits(), test part. Suite quick: FGSM, PGD-20 (2 starts), Square-500. "
    )
    assert "Seeds: net: 0, 1, 2; one: 0." in line
    assert "standard deviation over the seeds (n − 1) [lowest seed]; one seed (its 95 % Wilson interval" in line
    assert len(found) == 5


def test_markdown_says_only_what_occurs(make_run: MakeRun, table: Callable[..., Any]) -> None:
    several, single = table(*seeds(make_run))[-1][0], table(make_run("one"))[-1][0]
    assert "Seeds: 0, 1, 2. Accuracy: mean ± standard deviation" in several
    assert "Wilson" not in several
    assert "Seeds: 0. Accuracy: one seed" in single
    assert "±" not in single


def test_markdown_of_the_unreliable_and_the_unevaluated(make_run: MakeRun, table: Callable[..., Any]) -> None:
    masked = make_run(
        "masked", robust=(0.77, 0.77, 0.77), clean=0.77, status="zero_gradient", reason="Flat.", probed={}
    )
    found = table(masked, make_run("plain"), make_run("later", robust=None))
    assert found[3][:6] == ["–", "masked", *["zero gradient"] * 4]
    assert "77" not in str(found)
    assert found[5] == ["Not evaluated yet, and so not ranked: later."]
    assert found[8] == ["masked", *["zero gradient"] * 7]


def test_markdown_of_two_protocols(make_run: MakeRun, table: Callable[..., Any]) -> None:
    found = table(make_run("a"), make_run("b", images=50))
    assert [line[0] for line in found if len(line) == 1 and line[0].startswith("**")] == [
        "**Protocol A**",
        "**Protocol B**",
    ]
    assert [line[0][:15] for line in found if line[0].startswith("Data")] == ["Data: 100 image", "Data: 50 images"]


def test_markdown_has_the_probes(make_run: MakeRun, table: Callable[..., Any]) -> None:
    ann = make_run("ann", robust=(0.3, 0.2, 0.1), probed={"potential_perturbation": {}})
    found = table(make_run("net", probed={}), ann, make_run("unprobed"))
    start = next(i for i, line in enumerate(found) if "Non-zero share" in line)
    assert found[start][1:] == [
        "Non-zero share",
        "Above 1 % of the largest",
        "l1",
        "Loss rise, attack",
        "Loss rise, random",
        "Loss rise, gap",
        "Last layer’s rms, mean over time",
    ]
    assert found[start + 2] == ["net", "75.0 %", "50.0 %", "3.25", "1.500", "0.250", "1.250", "0.6"]
    assert found[start + 3] == ["ann", "75.0 %", "50.0 %", "3.25", "1.500", "0.250", "1.250", "–"]
    assert len(found) == start + 5
    assert found[-1][0].endswith("PGD(steps=10) within Linf(eps=8/255), on the first 64 images of Digits(), test part.")


def test_names_are_no_markup(make_run: MakeRun, table: Callable[..., Any]) -> None:
    found = table(make_run("a|b <i>*_x_*\n# y", folder="evil"))
    assert found[2][1] == r"a\|b \<i\>\*\_x\_\* # y"
    assert len(found[2]) == 8


@pytest.mark.parametrize("suffix", [".json", ".md", ".HTML", ""])
def test_every_form_is_the_same_every_time_and_leaves_nothing_else(
    make_run: MakeRun, tmp_path: Path, suffix: str
) -> None:
    runs = [*seeds(make_run, probed={}), make_run("other", images=50), make_run("later", robust=None)]
    out = tmp_path / "out"
    one, two = (write_report(runs, out / f"{name}{suffix}") for name in ("1", "2"))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(out.iterdir()) == [one, two]
    assert one.read_text(encoding="utf-8").startswith("<!DOCTYPE") == (suffix in (".HTML", ""))


@pytest.mark.parametrize("name", ["report.pdf", "report.csv", "report.html.gz"])
def test_another_suffix_is_refused(make_run: MakeRun, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"written as \.html, \.json or \.md, by the name of its file; not as \.\w+"):
        write_report([make_run("net")], tmp_path / "out" / name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".json", ".md"])
def test_damage_and_no_runs_leave_no_file(make_run: MakeRun, tmp_path: Path, suffix: str) -> None:
    run = make_run("net")
    run.write_json("verdicts.json", {"status": "ok"})
    with pytest.raises(UserError, match=r"verdicts\.json"):
        write_report([run], tmp_path / "out" / f"report{suffix}")
    with pytest.raises(UserError, match="no runs to report"):
        write_report([], tmp_path / "out" / f"report{suffix}")
    assert not (tmp_path / "out").exists()

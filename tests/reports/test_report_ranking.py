"""Does the ranking put the robust first, keep apart what does not compare, and refuse what cannot be trusted?"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from run_folders import choice

from spikeproof.choices import UserError
from spikeproof.reports import Row, ranking
from spikeproof.reports.forms.sentences import conclude
from spikeproof.reports.reading.breakdowns import breakdowns
from spikeproof.reports.reading.flagging import FLAGS
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run
from spikeproof.runs.verdict_files import NAMES

MakeRun = Callable[..., Run]


def names(rows: list[Row]) -> list[str]:
    return [row.name for row in rows]


def test_order_is_robust_accuracy_at_the_largest_eps(make_run: MakeRun) -> None:
    runs = [
        make_run("weak", clean=0.99, robust=(0.9, 0.5, 0.1)),
        make_run("strong", clean=0.85, robust=(0.7, 0.6, 0.5)),
        make_run("middle", robust=(0.8, 0.4, 0.3)),
    ]
    rows = ranking(runs)
    assert names(rows) == ["strong", "middle", "weak"]
    assert [row.rank for row in rows] == [1, 2, 3]
    assert [e.value for e in rows[0].robust.values()] == [0.7, 0.6, 0.5]
    assert list(rows[0].robust) == ["Linf(2/255)", "Linf(4/255)", "Linf(8/255)"]


def test_equal_networks_share_a_rank(make_run: MakeRun) -> None:
    runs = [make_run("b", clean=0.9), make_run("a", clean=0.95), make_run("c", robust=(0.5, 0.2, 0.1))]
    assert [(row.name, row.rank) for row in ranking(runs)] == [("a", 1), ("b", 1), ("c", 3)]
    (conclusion,) = conclude(standings(runs))
    assert conclusion.lede.startswith("a and b come first together: each keeps 40.0")
    assert conclusion.remarks == [f"Of {FLAGS} red flags none were looked for."]


@pytest.mark.parametrize("status", ["silent", "constant", "nan", "zero_gradient"])
def test_unreliable_networks_come_last_without_a_number(make_run: MakeRun, status: str) -> None:
    masked = make_run("masked", robust=(0.9, 0.9, 0.9), status=status, reason="It says nothing.")
    rows = ranking([masked, make_run("honest", robust=(0.3, 0.2, 0.1))])
    assert names(rows) == ["honest", "masked"]
    assert (rows[1].rank, rows[1].robust, rows[1].reason) == (None, {}, "It says nothing.")
    assert rows[1].clean


def test_not_evaluated_is_listed(make_run: MakeRun) -> None:
    rows = ranking([make_run("later", robust=None), make_run("done"), make_run("half", robust=None, finished=None)])
    assert [(row.name, row.status) for row in rows] == [
        ("done", "ok"),
        ("later", "not evaluated"),
        ("half", "not evaluated"),
    ]
    assert rows[1].clean is None
    assert "not finished" in rows[2].reason


def test_seeds_of_one_network_are_one_row(make_run: MakeRun) -> None:
    runs = [
        make_run("net", folder=f"net-{seed}", seed=seed, robust=(0.8, 0.6, robust))
        for seed, robust in enumerate((0.4, 0.3, 0.5))
    ]
    (row,) = ranking([runs[2], runs[0], runs[1]])
    worst = row.robust["Linf(8/255)"]
    assert row.seeds == (0, 1, 2)
    assert worst.value == pytest.approx(0.4)
    assert worst.spread == (0.3, 0.5)
    assert worst.low == pytest.approx(0.3094, abs=1e-4)  # Wilson, 40 of 100, not 120 of 300


def test_one_unreliable_seed_spoils_the_row(make_run: MakeRun) -> None:
    runs = [
        make_run("net", folder="net-0", seed=0),
        make_run("net", folder="net-1", seed=1, status="silent", reason="No neuron fires."),
    ]
    (row,) = ranking(runs)
    assert (row.rank, row.robust, row.status, row.reason) == (None, {}, "silent", "Seed 1: No neuron fires.")


def test_same_name_is_no_repetition_when_choices_or_seeds_say_otherwise(make_run: MakeRun) -> None:
    other = {"class_path": "TRADES", "init_args": {"beta": 6.0}}
    runs = [
        make_run("net", folder="one"),
        make_run("net", folder="two"),
        make_run("net", folder="three", objective=other),
    ]
    rows = ranking(runs)
    assert sorted(names(rows)) == ["net [one]", "net [three]", "net [two]"]
    assert {row.objective for row in rows} == {"CrossEntropy()", "TRADES(beta=6)"}


def test_a_folder_given_twice_counts_once(make_run: MakeRun) -> None:
    run = make_run("net")
    assert names(ranking([run, Run(run.path / ".." / "net")])) == ["net"]


@pytest.mark.parametrize(
    ("changed", "facet"),
    [
        ({"images": 50}, "number of images"),
        ({"eps": (1 / 255, 4 / 255, 8 / 255)}, "threats"),
        ({"part": "validation"}, "part"),
        ({"data": {"class_path": "Blobs", "init_args": {}}}, "data set"),
        ({"suite": {"name": "full", "attacks": [{"label": "PGD()", "config": choice("PGD")}] * 5}}, "suite"),
    ],
)
def test_protocols_are_kept_apart(make_run: MakeRun, changed: dict, facet: str) -> None:
    runs = [make_run("a"), make_run("b", robust=(0.5, 0.4, 0.3)), make_run("c", robust=(0.9, 0.9, 0.8), **changed)]
    found = standings(runs)
    assert [(c.row.name, c.row.protocol, c.row.rank) for c in found.contenders] == [
        ("a", "A", 1),
        ("b", "A", 2),
        ("c", "B", 1),
    ]
    assert facet in [name for name, _ in found.differences()]


def test_other_training_data_still_compare(make_run: MakeRun) -> None:
    data = {"class_path": "Digits", "init_args": {"augmentation": [{"class_path": "Cutout"}], "train_images": 10}}
    assert [row.rank for row in ranking([make_run("a"), make_run("b", data=data)])] == [1, 1]


def test_same_suite_with_other_settings_does_not_compare(make_run: MakeRun) -> None:
    runs = [make_run("a"), make_run("b")]
    verdicts = runs[1].read_json("verdicts.json")
    verdicts["suite"]["attacks"][1]["config"]["init_args"]["steps"] = 1
    runs[1].write_json("verdicts.json", verdicts)
    assert standings(runs).differences()[0] == (
        "attacks",
        ["FGSM, PGD-20 (2 starts), Square-500", "FGSM, PGD-1 (2 starts), Square-500"],
    )
    verdicts["suite"]["attacks"][1]["config"]["init_args"] |= {"steps": 20, "keep": "last"}  # no part of its name
    runs[1].write_json("verdicts.json", verdicts)
    assert [name for name, _ in standings(runs).differences()] == ["attack settings (fingerprint)"]


def test_breakdown_accounts_for_every_image(make_run: MakeRun) -> None:
    runs = [make_run("net", folder=f"n{seed}", seed=seed, robust=(0.8, 0.6, 0.4 + 0.1 * seed)) for seed in (0, 1)]
    (contender,) = standings(runs).contenders
    parts = breakdowns(contender)
    assert [part.threat for part in parts] == ["Linf(2/255)", "Linf(4/255)", "Linf(8/255)"]
    assert [part.holds for part in parts] == [80, 60, 45]
    assert {part.wrong for part in parts} == {10}
    assert {part.wrong + sum(part.broken) + part.holds for part in parts} == {100}


def test_conclusion_tells_whether_the_intervals_overlap(make_run: MakeRun) -> None:
    best = make_run("best", robust=(0.8, 0.6, 0.45))
    (near,) = conclude(standings([best, make_run("near", robust=(0.8, 0.6, 0.40))]))
    (far,) = conclude(standings([best, make_run("far", robust=(0.3, 0.2, 0.1))]))
    assert "best comes first, level with near: it keeps" in near.lede
    assert "far" not in far.lede
    assert "intervals overlap" in near.remarks[0]
    assert "5 are held by the first alone and 0 by the second alone: no difference" in near.remarks[0]
    assert "intervals do not overlap" in far.remarks[0]
    assert "p < 0.001" in far.remarks[0]


def test_damage_is_named(make_run: MakeRun) -> None:
    run = make_run("net")
    run.write_json("verdicts.json", {"status": "ok"})
    with pytest.raises(UserError, match=r"verdicts\.json is not as spikeproof writes it"):
        ranking([run])
    run = make_run("short")
    run.write_arrays("verdicts.npz", {name: np.zeros(7, int) for name in NAMES})
    with pytest.raises(UserError, match=r"100 images, but verdicts\.npz holds \[\(7,\)\]"):
        ranking([run])


def test_rows_are_records(make_run: MakeRun) -> None:
    (row,) = ranking([make_run("net")])
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.rank = 7  # type: ignore[misc]
    assert (row.parameters, row.training_seconds, row.gradient_evaluations) == (12345, 95, 40)

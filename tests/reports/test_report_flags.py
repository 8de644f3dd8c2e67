"""Are red flags shown as they were recorded, and is a number that they spoil withheld?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parsed_page import Page
from run_folders import flags

from spikeproof.choices import UserError
from spikeproof.reports import ranking, write_report
from spikeproof.reports.figures.climbs import _climbers, _course
from spikeproof.reports.forms.sentences import conclude
from spikeproof.reports.reading.breakdowns import Breakdown, joined
from spikeproof.reports.reading.contenders import Contender
from spikeproof.reports.reading.flagging import FLAGS, because, cautions, figure, flagged
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run
from spikeproof.runs.records import FlagRecord

MakeRun = Callable[..., Run]
MISLED = {"one_step_beats_many": 0.05}
DEAD = {"a_dead_layer": 0.995}
SLOPES = tuple(f"APGD(steps=100) along Triangle(width={width})" for width in range(17))
MANY = ("FGSM", *SLOPES, "Square(queries=500)")


def only(*runs: Run) -> Contender:
    (contender,) = standings(list(runs)).contenders
    return contender


def unreliable(**numbers: float) -> dict[str, Any]:
    reason = "A sentence for each flag, long and complete."
    return {"status": "unreliable", "reason": reason, "flags": flags(**numbers), "robust": (0.77, 0.77, 0.77)}


def test_none_raised_is_one_line_and_opens_to_every_number(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", flags=flags()))
    assert "net none raised of 4" in page.text
    assert {"flags", "network-1-flags"} <= set(page.values("id"))
    assert page.row("one step beats many")[1:] == ["−0.125", "0.03", "spoils", "FGSM: 0.325 APGD 10: 0.45"]
    assert page.row("a dead layer")[1:] == ["0.25", "0.99", "warns", "body.1: 0.25 body.4: 0.125"]
    assert page.row("zero input gradients")[-1] == "images: 1 064 paths: 3"
    assert page.row("one step beats many")[0].endswith("Gradients lead astray.")
    assert not [tag for tag, name, value in page.attributes if (name, value) == ("class", "mark")]


def test_raised_flags_stand_outside_what_must_be_opened(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", flags=flags(**DEAD)))
    summary = page.source.split("<summary>")[1].split("</summary>")[0]
    assert "1 raised of 4" in summary
    assert "<b>a dead layer</b> 0.995, at most 0.99 is normal. Neurons never fire. <i>A warning.</i>" in summary
    assert page.row("a dead layer")[1] == "0.995raised"


def test_a_warning_marks_the_row_and_leaves_the_number(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("warned", flags=flags(**DEAD)), make_run("plain", robust=(0.3, 0.2, 0.1), flags=flags()))
    assert page.row("warned")[:2] == ["1", "warned 1 warning"]
    assert page.row("plain")[:2] == ["2", "plain"]
    assert page.row("warned")[6].startswith("40.0 %")
    assert ("a", "href", "#network-1-flags") in page.attributes
    assert "A mark beside a name leads to warnings" in page.text
    assert (
        "The number of warned, which comes first, stands, but with 1 warning: "
        "a dead layer (0.995, at most 0.99 is normal)."
    ) in page.text


def test_an_unreliable_network_comes_last_with_its_flags(make_run: MakeRun, report: Callable[..., Page]) -> None:
    honest, masked = (
        make_run("honest", robust=(0.3, 0.2, 0.1)),
        make_run("masked", **unreliable(**MISLED, **DEAD), probed={}),
    )
    assert [(row.name, row.rank, row.status) for row in ranking([masked, honest])] == [
        ("honest", 1, "ok"),
        ("masked", None, "unreliable"),
    ]
    page = report(masked, honest)
    assert page.row("masked")[4] == (
        "unreliable Its number cannot be trusted: one step beats many (0.05, at most 0.03 is normal). Red flags"
    )
    assert page.row("masked")[1] == "masked"  # a mark is for numbers that stand
    assert "77.0" not in page.text
    assert "masked was given no robust accuracy, because its number cannot be trusted; red flags say why." in page.text
    assert "could not be measured" not in page.text
    assert "No number of this network can be trusted" in page.text


def test_what_cannot_be_measured_is_told_apart_from_what_cannot_be_believed(make_run: MakeRun) -> None:
    runs = [
        make_run("silent", status="silent", reason="No neuron fires.", flags=flags()),
        make_run("one", **unreliable(**MISLED)),
        make_run("two", **unreliable(**MISLED)),
    ]
    (conclusion,) = conclude(standings([*runs, make_run("net")]))
    assert conclusion.remarks == [
        "silent could not be measured and so was given no robust accuracy; the table says why.",
        "one and two were given no robust accuracy, because their numbers cannot be trusted; red flags say why.",
        f"Of {FLAGS} red flags none were looked for.",
    ]
    assert because(only(runs[0])) == "No neuron fires."


def test_a_long_reason_is_trimmed(make_run: MakeRun) -> None:
    raised = {f["name"].replace(" ", "_"): 1.0 for f in flags()}
    run = make_run("masked", **unreliable(**raised))
    run.write_json("verdicts.json", run.read_json("verdicts.json") | {"flags": 2 * flags(**raised)})
    assert because(only(run)).count("normal") == 3  # the three that spoil; the dead layer does not
    verdicts = run.read_json("verdicts.json")
    verdicts["flags"] = [flag | {"name": f"check {i}", "spoils": True} for i, flag in enumerate(flags(**raised))]
    run.write_json("verdicts.json", verdicts)
    assert because(only(run)).endswith("check 2 (1, at most 0.03 is normal); and 1 more.")


def test_several_seeds_show_each_and_are_told_by_the_worst(make_run: MakeRun, report: Callable[..., Page]) -> None:
    numbers: tuple[float | None, ...] = (0.995, 0.999, 0.5)
    runs = [
        make_run("net", folder=f"n{s}", seed=s, flags=flags(a_dead_layer=number)) for s, number in enumerate(numbers)
    ]
    page = report(*runs)
    assert page.row("a dead layer")[1:5] == ["0.995raised", "0.999raised", "0.5", "0.99"]
    assert "a dead layer 0.999, at most 0.99 is normal, seed 1. Neurons never fire." in page.text
    assert page.row("net")[1] == "net 3 seeds 1 warning"
    (check,) = flagged(only(*runs)).raised
    assert (check.worst_seed, check.worst.number) == (1, 0.999)


def test_a_number_that_is_none_is_the_worst(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [
        make_run("net", folder="n0", seed=0, flags=flags(a_dead_layer=0.999)),
        make_run("net", folder="n1", seed=1, flags=flags(a_dead_layer=None)),
    ]
    (check,) = flagged(only(*runs)).raised
    assert check.worst_seed == 1
    (row,) = json.loads(write_report(runs, tmp_path / "report.json").read_text())
    assert [found[1]["number"] for found in row["flags_by_seed"]] == [0.999, None]


def test_older_verdicts_have_no_flags(make_run: MakeRun, report: Callable[..., Page]) -> None:
    older = make_run("older")
    assert flagged(only(older)).told() == "not looked for"
    alone = report(older)
    assert "Red flags" not in alone.text
    assert "flags" not in alone.values("id")
    assert "older not looked for" in report(older, make_run("net", flags=flags())).text
    half = [make_run("half", folder=f"h{s}", seed=s, **({"flags": flags()} if s else {})) for s in (0, 1, 2)]
    assert flagged(only(*half)).told() == "none raised of 4; not looked for in seed 0"
    assert report(*half).row("a dead layer")[1:4] == ["–", "0.25", "0.25"]


def test_the_climb_is_drawn_a_line_a_seed(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(*[make_run("net", folder=f"n{s}", seed=s, flags=flags()) for s in (0, 1)])
    (drawing,) = page.drawings("climb")
    assert "seed 0: 45.0 % with 10 steps, 50.0 % with 50 steps, 51.0 % with 100 steps, 62.5 % with 500" in drawing
    for label in ("10", "50", "100", "500", "seed 0", "seed 1"):
        assert f">{label}</text>" in drawing
    assert "Broken by APGD 10 to APGD 500 alone," in drawing
    assert not report(make_run("quick", flags=flags()[:3])).drawings("climb")


def test_steps_of_a_climb_are_numbers_whatever_its_attacks_are_called() -> None:
    """What the field calls APGD-CE takes 100 steps without saying so."""
    found = {"key": "steps-do-not-help", "number": -0.1, "raised": False} | {
        name: value for name, value in flags()[3].items() if name in ("name", "threshold", "spoils", "meaning")
    }
    details = {"APGD-CE-10": 0.25, "APGD-CE": 0.5, "samples": 64, "steps": [10, 100]}
    flag = FlagRecord(**found, details=details)
    assert _course(flag) == {10: 0.25, 100: 0.5}
    assert _climbers(flag) == "APGD-CE-10 to APGD-CE"
    assert _course(FlagRecord(**found)) == {}
    assert figure(details["steps"]) == "10, 100"


def test_words_of_a_flag_are_no_markup(make_run: MakeRun, report: Callable[..., Page]) -> None:
    evil = flags(**DEAD)[1] | {"name": "<script>", "meaning": "<b>", "details": {"<i>": "<u>"}}
    page = report(make_run("net", flags=[evil]))
    assert not {"script", "u"} & {tag for tag, _, _ in page.attributes}
    assert page.row("<script>")[-1] == "<i>: <u>"


@pytest.mark.parametrize("damage", [{"details": [1]}, {"number": "much"}, {"threshold": None}])
def test_a_damaged_flag_is_named(make_run: MakeRun, damage: dict[str, Any]) -> None:
    run = make_run("net", flags=[flags()[0] | damage])
    with pytest.raises(UserError, match=r"verdicts\.json is not as spikeproof writes it"):
        ranking([run])


def test_data_has_the_flags_of_each_seed(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [
        make_run("net", folder="n0", seed=0, flags=flags()),
        make_run("net", folder="n1", seed=1, **unreliable(**MISLED)),
        make_run("older"),
    ]
    older, row = json.loads(write_report(runs, tmp_path / "report.json").read_text())
    keys = ["zero-gradients", "dead-layer", "one-step-beats-many", "steps-do-not-help"]
    with_keys = [
        [flag | {"key": key} for flag, key in zip(seed, keys, strict=True)] for seed in (flags(), flags(**MISLED))
    ]
    for seed in with_keys:
        seed[-1] = seed[-1] | {"details": seed[-1]["details"] | {"steps": [10, 50, 100, 500]}}
    assert row["flags_by_seed"] == with_keys
    assert (row["status"], row["reason"][:7]) == ("unreliable", "Seed 1:")
    assert older["flags_by_seed"] == [[]]


def test_the_table_is_followed_by_the_raised(make_run: MakeRun, tmp_path: Path) -> None:
    def written(*runs: Run) -> str:
        return write_report(list(runs), tmp_path / "report.md").read_text(encoding="utf-8")

    text = written(
        make_run("a_*", folder="a", flags=flags(**DEAD)), make_run("b", **unreliable(**MISLED)), make_run("older")
    )
    assert text.endswith(
        "Red flags that were raised; of older, none were looked for:\n\n"
        "- a\\_\\*, a warning: a dead layer (0.995, at most 0.99 is normal). Neurons never fire.\n"
        "- b, spoils the number: one step beats many (0.05, at most 0.03 is normal). Gradients lead astray.\n"
    )
    assert "| – | b | unreliable | unreliable |" in text
    assert written(make_run("a", flags=flags())).endswith("\n\nNo red flag was raised.\n")
    assert "flag" not in written(make_run("older"))


def test_many_attacks_share_a_column_and_each_has_a_row(make_run: MakeRun, report: Callable[..., Page]) -> None:
    run = make_run("net", attacks=MANY)
    arrays = run.read_arrays("verdicts.npz")
    credited = np.where(np.arange(100) % 3 == 0, 18, np.arange(100) % 7)
    run.write_arrays("verdicts.npz", arrays | {"broken_by": np.where(arrays["broken_by"] >= 0, credited, -1)})
    page = report(run)
    assert "attacked by the quick suite of 19 attacks" in page.text
    (head,) = [row for row in page.rows if "holds" in " ".join(row) and "Network" in row]
    assert [cell.strip() for cell in head[-3:]] == ["Square-500", "14 others", "holds"]
    assert len(head) == 2 + 1 + 5 + 1 + 1
    (counts,) = [row for row in page.rows if row[0].split()[:1] == ["net"] and len(row) == len(head)]
    assert sum(int(count) for count in counts[2:]) == 100
    assert page.row("broken by Square-500")[3] == counts[-3].strip()
    assert page.row("broken by 11 others")[1:] == ["0", "0", "0"]
    assert sum(row[0].startswith("broken by") for row in page.rows if row) == 8 + 1


def test_attacks_are_joined_only_where_there_are_many() -> None:
    def part(*broken: float) -> Breakdown:
        return Breakdown("Linf(8/255)", 0, broken, 1)

    few = joined(["A", "B", "C"], [part(0, 0, 4)])
    assert [column.label for column in few] == ["A", "B", "C"]
    seven = part(1, 0, 0, 9, 0, 5, 0)
    columns = joined(list("ABCDEFG"), [seven], most=2)
    assert [(column.label, column.title) for column in columns] == [
        ("D", "D"),
        ("F", "F"),
        ("5 others", "A, B, C, E, G"),
    ]
    assert [seven.by(column) for column in columns] == [9, 5, 1]
    assert joined(list("ABCDEFG"), [part(*range(1, 8))], most=6)[0].label == "A"  # one other is told by its name


def test_cautions_are_counted(make_run: MakeRun) -> None:
    assert cautions(flagged(only(make_run("none", flags=flags())))) == ""
    assert cautions(flagged(only(make_run("one", flags=flags(**DEAD, **MISLED))))) == "1 warning"

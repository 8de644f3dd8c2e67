"""Does the page show probes as they are, and nothing where there are none?"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from parsed_page import Page

from spikeproof.choices import UserError
from spikeproof.reports import ranking
from spikeproof.reports.reading.contenders import Standings
from spikeproof.reports.reading.probing import Probed, probed
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run

MakeRun = Callable[..., Run]
OTHER = {
    "gradient": {"nonzero_share": 0.25, "above_1_percent_share": 0.25, "l1": 1.25},
    "potential_perturbation": {
        "body.1": {"adversarial": [0.3, 0.4, 0.5], "random": [0, 0, 0]},
        "body.4": {"adversarial": [0.0, 0.1, 0.2], "random": [0, 0, 0]},
    },
}


def only(*runs: Run) -> Probed:
    (contender,) = standings(list(runs)).contenders
    found = probed(contender)
    assert found
    return found


def test_the_section_says_the_numbers(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", probed={}))
    assert (
        "Of the entries of the input gradient, 75.0 % are not exactly zero and 50.0 % exceed 1 % of their image’s "
        "largest; its l1 norm is 3.25. The attack raises the cross-entropy by 1.500 and lowers the accuracy by 40.0 "
        "points, random noise of the same size by 0.250 and 10.0 points: a gap of 1.250 and 30.0 points."
    ) in page.text
    assert "Means over the seeds" not in page.text
    assert "passes" not in page.text
    assert "Logits and gradients are means of 16 passes." in report(make_run("noisy", probed={"draws": 16})).text
    assert "PGD(steps=10) within Linf(eps=8/255), on the first 64 images of Digits(), test part" in page.text


def test_potentials_are_drawn_a_line_a_layer(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", probed={}))
    (drawing,) = page.drawings("potentials")
    assert "body.1: 0.1 to 0.3 under attack, 0.05 to 0.07 under random noise; body.4: 0.4 to 0.9" in drawing
    assert 'role="img"' in drawing
    for layer in ("1  body.1", "2  body.4", "attacked", "random noise"):
        assert f">{layer}</text>" in drawing
    lines = [path for path in re.findall(r"<path d=\"[^\"]*\"[^>]*clip-path[^>]*>", drawing) if "var(--series" in path]
    assert len(lines) == 4
    assert sum("stroke-dasharray" in line for line in lines) == 2
    assert {re.findall(r"--series-\d", line)[0] for line in lines} == {"--series-0", "--series-1"}
    assert not re.search(r"#[0-9a-f]{6}\b|DejaVu", drawing)


def test_layers_beyond_the_colours_and_a_single_step_are_drawn(make_run: MakeRun, report: Callable[..., Page]) -> None:
    deep = {f"_layer$_{k}$": {"adversarial": [0.1 * k], "random": [0.05 * k]} for k in range(12)}
    page = report(make_run("net", probed={"potential_perturbation": deep}))
    (drawing,) = page.drawings("potentials")
    assert ">12  _layer$_11$</text>" in drawing
    assert "_layer$_11$: 1.1 under attack, 0.55 under random noise." in drawing


def test_one_table_over_all_networks(make_run: MakeRun, report: Callable[..., Page]) -> None:
    runs = [make_run("net", probed={}), make_run("ann", robust=(0.3, 0.2, 0.1), probed={"potential_perturbation": {}})]
    page = report(*runs, make_run("unprobed"))
    rows = [[" ".join(cell.split()) for cell in row] for row in page.rows]
    head = next(i for i, row in enumerate(rows) if "Non-zero share" in row)
    assert rows[head][1:] == [
        "Non-zero share",
        "Above 1 % of the largest",
        "l1",
        "Loss rise, attack",
        "Loss rise, random",
        "Loss rise, gap",
        "Last layer’s rms, mean over time",
    ]
    assert rows[head + 1] == ["net", "75.0 %", "50.0 %", "3.25", "1.500", "0.250", "1.250", "0.6"]
    assert rows[head + 2] == ["ann", "75.0 %", "50.0 %", "3.25", "1.500", "0.250", "1.250", "–"]
    assert "unprobed" not in rows[head + 3]
    assert len(page.drawings("potentials")) == 1
    assert "probes" in page.values("id")
    assert "#probes" in page.values("href")


def test_without_probes_nothing_is_said(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net"))
    assert "probes" not in page.values("id")
    assert "#probes" not in page.values("href")
    assert "input gradient, " not in page.text
    assert page.drawings("potentials") == []


def test_seeds_are_averaged(make_run: MakeRun, report: Callable[..., Page]) -> None:
    runs = [make_run("net", folder=f"n{s}", seed=s, probed=p) for s, p in ((0, {}), (3, OTHER), (4, None))]
    found = only(*runs)
    assert found.seeds == (0, 3)
    assert (found.figures["nonzero_share"], found.figures["l1"], found.figures["loss_rise_gap"]) == (0.5, 2.25, 1.25)
    assert found.adversarial["body.1"] == pytest.approx((0.2, 0.3, 0.4))
    assert found.random["body.4"] == pytest.approx((0.055, 0.06, 0.065))
    assert found.last_layer == pytest.approx((0.2 + 0.3 + 0.55) / 3)
    page = report(*runs)
    assert "Means over the seeds 0 and 3." in page.text
    assert "50.0 % are not exactly zero" in page.text


def test_seeds_probed_otherwise_are_not_mixed_in(make_run: MakeRun) -> None:
    runs = [make_run("net", folder=f"n{s}", seed=s, probed=p) for s, p in enumerate(({}, OTHER | {"images": 32}))]
    assert (only(*runs).seeds, only(*runs).figures["l1"]) == ((0,), 3.25)
    shallow = {"potential_perturbation": {"body.1": OTHER["potential_perturbation"]["body.1"]}}
    runs[1] = make_run("net", folder="n1", seed=1, probed=shallow)
    assert only(*runs).seeds == (0,)


def test_two_settings_are_told_apart(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("a", probed={}), make_run("b", probed={"images": 32}))
    rows = [[cell.strip() for cell in row] for row in page.rows if len(row) == 9 and "1.250" in " ".join(row)]
    assert [(row[0], row[-1]) for row in rows] == [("a", "1"), ("b", "2")]
    assert "Setting 2: PGD(steps=10) within Linf(eps=8/255), on the first 32 images of Digits()" in page.text
    assert "Figures of two settings do not compare." in page.text


def test_an_unreliable_network_has_its_status(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("masked", status="zero_gradient", reason="No gradient moves.", probed={}))
    (row,) = [row for row in page.rows if len(row) == 2 and "zero gradient" in row[1]]
    assert row[0].strip() == "masked"
    assert "No number of this network can be trusted: gradients or outputs that mislead an attack" in page.text
    later = report(make_run("later", robust=None, probed={}))
    assert later.text.count("75.0 %") == 2
    assert "can be trusted" not in later.text


@pytest.mark.parametrize(
    "damage",
    [
        {"gradient": {}},
        {"gradient": {"nonzero_share": float("nan"), "above_1_percent_share": 0, "l1": 0}},
        {"potential_perturbation": {"a": {"adversarial": [1.0], "random": [1.0, 2.0]}}},
        {"potential_perturbation": {"a": {"adversarial": [], "random": []}}},
        {"threat": None},
    ],
)
def test_damage_is_named(make_run: MakeRun, damage: dict) -> None:
    run = make_run("net", probed={})
    whole = run.read_json("probes.json") | damage
    run.write_text("probes.json", json.dumps(whole))
    with pytest.raises(UserError, match=r"probes\.json is (not as spikeproof writes it|damaged \(holds NaN)"):
        ranking([run])


def test_a_network_of_several_evaluations_is_one_line_and_a_masked_one_hides_its_numbers() -> None:
    def line(name: str, status: str, *folders: str) -> SimpleNamespace:
        seeds = [SimpleNamespace(run=SimpleNamespace(path=Path(folder))) for folder in folders]
        return SimpleNamespace(row=SimpleNamespace(name=name, status=status), seeds=seeds)

    lines = [
        line("a [habit]", "ok", "a0", "a1"),
        line("b [habit]", "ok", "b0"),
        line("a [standard]", "ok", "a0", "a1"),
        line("b [standard]", "unreliable", "b0"),
        line("c", "not evaluated", "c0"),
    ]
    found = Standings(
        [SimpleNamespace(contenders=lines[:2]), SimpleNamespace(contenders=lines[2:4])], waiting=lines[4:]
    )
    assert [one.row.name for one in found.networks] == ["a [habit]", "b [standard]", "c"]

"""Does a report say what its number is worth, in words that people use, and can it be taken along?"""

import base64
import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from parsed_page import Page
from run_folders import ATTACKS, attack, choice

from spikeproof.attacks import PGD
from spikeproof.configs import to_config
from spikeproof.objectives import RAT, TRADES, Adversarial, GaussianNoise, SparseGradient, StablePotential, Standard
from spikeproof.reports.figures.drawings import MARKERS, SERIES, look
from spikeproof.reports.forms.sentences import conclude
from spikeproof.reports.reading.classes import classes
from spikeproof.reports.reading.flagging import FLAGS
from spikeproof.reports.reading.objectives import in_words
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run

MakeRun = Callable[..., Run]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (Standard(), "standard"),
        (GaussianNoise(), "Gaussian noise, σ 8/255"),
        (Adversarial(), "adversarial, PGD-7"),
        (TRADES(beta=3), "TRADES, β 3, PGD-10"),
        (SparseGradient(weight=0.01, attack=PGD(steps=5)), "SR*, weight 0.01, PGD-5"),
        (SparseGradient(weight=0.01), "SR, weight 0.01"),
        (StablePotential(attack=None), "stable potentials, weight 1, σ 8/255"),
        (RAT(), "RAT, β 0.001, adversarial, PGD-2"),
    ],
)
def test_objectives_in_words(objective: Any, words: str) -> None:
    assert in_words(to_config(objective)) == words


def test_one_of_somebody_else_is_told_as_it_is_written() -> None:
    assert in_words(choice("mine.Own", weight=2)) == "Own(weight=2)"


def test_twenty_networks_look_different() -> None:
    looks = [look(index) for index in range(20)]
    assert len({(one["color"], one["marker"], one["fillstyle"]) for one in looks}) == 20
    assert len(MARKERS) == SERIES == 10


def test_a_suite_for_development_makes_no_claim(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net"))
    assert "For development, not a claim: run --suite standard." in page.text
    assert f"Of {FLAGS} red flags none were looked for." in page.text
    assert "suite quick · 100 images of Digits" in page.text
    attacks = [{"label": label, "config": attack(label)} for label in ATTACKS]
    serious = conclude(standings([make_run("net", suite={"name": "standard", "attacks": attacks})]))
    assert serious[0].caution == ""


def test_nobody_above_chance_holds(make_run: MakeRun) -> None:
    (found,) = conclude(standings([make_run("net", clean=0.5, robust=(0.3, 0.2, 0.02))]))
    assert found.lede.startswith("None holds: nobody is above chance. net, which comes first, "), found.lede


def test_classes_before_and_after(make_run: MakeRun) -> None:
    (contender,) = standings([make_run("net")]).contenders
    found = classes(contender, [])
    assert found is not None
    assert found.after is None  # written before broken_as was
    judged = contender.verdicts[0]
    assert sum(total for _, total, *_ in found.rows) == len(judged.label)
    assert found.robust.sum() == judged.holds(2).sum()


def test_the_ranking_can_be_taken_along(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("a_b", robust=(0.8, 0.7, 0.6)), make_run("masked", status="nan", reason="It says nothing."))
    files = {}
    for tag, name, value in page.attributes:
        if (tag, name) == ("a", "href") and value.startswith("data:"):
            kind, _, content = value.partition(";base64,")
            files[kind.removeprefix("data:")] = base64.b64decode(content)
    rows = list(csv.DictReader(io.StringIO(files["text/csv"].decode())))
    assert [(row["network"], row["threat"], row["accuracy"]) for row in rows][3] == ("a_b", "Linf(8/255)", "0.600000")
    assert [row["name"] for row in json.loads(files["application/json"])] == ["a_b", "masked"]
    assert r"a\_b & 90.0" in files["text/plain"].decode()
    assert r"\bottomrule" in files["text/plain"].decode()
    assert files["image/png"].startswith(b"\x89PNG")

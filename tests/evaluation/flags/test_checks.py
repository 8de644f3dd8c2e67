"""Is a declared check all that a flag needs, and is what is declared what is told?"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import spikeproof as sp
from spikeproof.evaluation import flags
from spikeproof.evaluation.flags import CHECKS, Flag, Inspection, Measured, Trials, check, examine, rows
from spikeproof.evaluation.flags.statistics import beyond, by_chance, limit
from spikeproof.reports.reading.flagging import FLAGS

DOCS = Path(__file__).parents[3] / "docs" / "evaluation.md"
FIELDS = ("key", "name", "number", "threshold", "spoils", "meaning", "details")


@check(
    Inspection,
    key="bright",
    name="bright images",
    threshold=0.5,
    spoils=True,
    number="the mean of all pixels",
    meaning="The images are too bright to tell anything.",
)
def bright(network: Inspection) -> Measured:
    return Measured(number=float(network.x.mean()), details={"images": len(network.x)})


def test_one_declared_function_is_all_that_a_new_flag_takes(trained, images, monkeypatch):
    monkeypatch.setattr(flags, "CHECKS", (*CHECKS, bright))
    assert ("bright", "The images are too bright to tell anything.", "0.5", "spoils") in rows()
    suite = sp.Suite(name="fgsm", attacks=(sp.FGSM(),))
    x, y = images
    found = sp.evaluate(trained, (x, y), sp.Protocol(threats=sp.Linf(0.1), suite=suite))
    recorded = {flag["key"]: flag for flag in found.summary()["flags"]}
    assert not recorded["bright"]["raised"]
    found = sp.evaluate(trained, (x / 2 + 0.5, y), sp.Protocol(threats=sp.Linf(0.1), suite=suite))
    assert found.diagnosis.status == "unreliable"
    assert "bright images" in found.diagnosis.reason


def test_checks_are_told_apart_by_key_and_by_name():
    assert len({each.key for each in CHECKS}) == len({each.name for each in CHECKS}) == len(CHECKS) == FLAGS
    assert all(each.key == each.key.lower().replace(" ", "-") for each in CHECKS)
    assert CHECKS[0].key == "stateful"  # first of all: else every other number is a matter of chance
    assert {row[0] for row in rows()} == {each.key for each in CHECKS}


def test_the_table_in_the_docs_is_what_is_declared():
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    start = lines.index("| flag | key | its number | at most | spoils |") + 2
    table = [line for line in lines[start : start + len(CHECKS) + 1] if line.startswith("|")]
    declared = [
        f"| {each.name} | `{each.key}` | {each.number} | {each.threshold:g} | {'yes ' if each.spoils else ''}|"
        for each in CHECKS
    ]
    assert table == declared


def test_a_check_that_does_not_apply_gives_no_flag_and_one_that_is_final_ends_the_rest(trained, images):
    subject = Inspection(trained, *images)
    none = check(
        Inspection, key="a", name="a", threshold=0.0, spoils=False, number="", meaning=""
    )(lambda network: None)  # fmt: skip
    last = check(
        Inspection, key="b", name="b", threshold=0.0, spoils=False, number="", meaning="", final=True
    )(lambda network: Measured(number=1.0))  # fmt: skip
    assert [flag.key for flag in examine(subject, (none, bright, last, bright))] == ["bright", "b"]


def test_the_threshold_is_what_is_declared_or_what_chance_explains():
    def made(chance):
        declared = check(Flag, key="a", name="a", threshold=0.1, spoils=True, number="", meaning="It is so.")
        return declared(lambda _: Measured(number=0.15, chance=chance, ran="Compared: A, against B.")).flag(None)

    assert made(0.05).threshold == 0.1
    assert made(0.05).raised
    assert made(0.2).threshold == 0.2
    assert not made(0.2).raised
    assert made(0.2).meaning == "It is so. Compared: A, against B."


def test_nan_raises_a_flag_and_its_sentence_says_number_and_threshold():
    flag = Flag("a-key", "a name", math.nan, 0.1, True, "What it means.", {})
    assert flag.raised
    assert flag.said() == "a name: nan (at most 0.1 is normal). What it means."
    summary = json.loads(json.dumps(flag.summary(), allow_nan=False))
    assert summary["number"] is None
    assert tuple(summary) == (*FIELDS, "raised")


def test_what_chance_allows_is_a_sign_test():
    """Of n differing images at least k have to fall one way, with P(Bin(n, 1/2) >= k) < 1 %: all of 7, 10 of 11."""
    place, none = torch.arange(100), torch.zeros(100, dtype=torch.bool)
    assert by_chance(place < 7, none) < 0.07  # 7 of 7: p = 1/128
    assert by_chance(place < 6, none) > 0.06  # 6 of 6: p = 1/64
    one, other = (place > 0) & (place < 11), place == 0  # 10 and 1, which differ by 9 of 100: p = 12/2048
    assert 0.07 < by_chance(one, other) < 0.09
    assert by_chance(none, none) > 0  # no difference is never beyond it


@pytest.mark.parametrize("images", [10, 64])
def test_two_images_are_luck_and_three_are_not(images):
    assert 2 / images < limit(images) < 3 / images


@pytest.mark.parametrize("images", [16, 52, 500])
def test_few_images_may_hold_more_of_a_kind_than_all_do(images):
    """At most one drawing in a hundred goes beyond it; and the more images there are, the nearer it is to the rate."""
    counts = np.random.default_rng(0).binomial(images, 0.05, 200_000)
    above = (counts / images > beyond(0.05, images)).mean()
    assert 0.001 < above < 0.01
    assert 0.05 < beyond(0.05, 4 * images) < beyond(0.05, images)


def test_many_images_are_counted_too():
    assert 0.05 < beyond(0.05, 50_000) < 0.053


def test_checks_that_are_not_asked_for_cost_nothing(trained, images):
    trials = trials_of(trained, images)
    assert list(examine(trials, ())) == []
    assert trials.forwards == 0
    one_step = next(each for each in CHECKS if each.key == "one-step-beats-many")
    alone = list(examine(trials, (one_step,)))
    spent = trials.gradients
    assert 0 < spent <= len(trials.x) * (1 + 5 + 1)  # FGSM and the shortest climb
    assert list(examine(trials, (one_step,))) == alone
    assert trials.gradients == spent  # what was tried is known
    noise = next(each for each in CHECKS if each.key == "noise-beats-gradients")
    later = list(examine(trials_of(trained, images), (noise, one_step)))
    assert later[1] == alone[0]  # whatever was tried before


def trials_of(model, images) -> Trials:
    from spikeproof.evaluation.judging import Judge

    x, y = images
    right = sp.predict(model, x).argmax(1) == y.cpu()
    x, y = x[right][:12], y[right][:12]
    return Trials(Judge(model, 1, False), x, y, sp.Linf(0.1), torch.zeros(len(x), dtype=torch.bool))

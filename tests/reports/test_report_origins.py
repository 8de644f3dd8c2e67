"""Does the page say which ANN a network was made from, and how it stood before any training?"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from parsed_page import Page

from spikeproof.reports import ranking
from spikeproof.runs import Run

MakeRun = Callable[..., Run]


def choice(class_path: str, **fields: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": fields}


def recipe(**other: Any) -> dict[str, Any]:
    """An ANN's, as it stands inside another recipe."""
    fields = {
        "name": "robust ANN",
        "data": choice("Digits"),
        "network": choice("Network", neuron=choice("QCFS", levels=8), steps=1),
        "objective": choice("TRADES", beta=6.0),
        "training": choice("Training", epochs=20),
        "ann": None,
        "conversion": None,
        "seed": 0,
    }
    return choice("Recipe", **fields | other)


CONVERTED = {"ann": recipe(), "conversion": choice("Calibration", percentile=0.997, steps=100)}
TAUGHT = {"ann": recipe(), "conversion": None}
ALONE = {"ann": None, "conversion": None}


def facts(page: Page) -> str:
    """The line below a network's name."""
    found = re.search(r'<p class="facts">(.*?)</p>', page.source, re.DOTALL)
    assert found
    return plain(found[1])


def plain(source: str) -> str:
    """The text between tags; a caption and what it stands for are a space apart."""
    return " ".join(re.sub(r"<[^>]*>", "", source.replace("</dt>", " ")).split())


def test_a_converted_network_names_its_conversion_and_its_ann(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", choices=CONVERTED))
    assert facts(page).endswith(
        "· converted by Calibration(percentile=0.997, steps=100) · from the ANN robust ANN: "
        "Network(neuron=QCFS(…), steps=1), TRADES(beta=6)"
    )
    for told in (
        "Conversion Calibration(percentile=0.997, steps=100)",
        "Converted from the ANN robust ANN",
        "ANN’s network Network(neuron=QCFS(levels=8), steps=1)",
        "ANN’s objective TRADES(beta=6)",
        "ANN’s training Training(epochs=20)",
        "ANN’s seed 0",
    ):
        assert told in plain(page.source), told


def test_a_taught_network_names_its_teacher(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", choices=TAUGHT))
    assert "· taught by the ANN robust ANN: Network(" in facts(page)
    assert "Taught by the ANN" in page.text
    assert "onverted" not in page.text


@pytest.mark.parametrize("choices", [None, ALONE])
def test_a_network_of_its_own_names_none(make_run: MakeRun, report: Callable[..., Page], choices: Any) -> None:
    page = report(make_run("net", choices=choices))
    assert "ANN" not in page.text.replace("ann: null", "")
    assert "onverted" not in page.text


def test_the_seed_of_the_ann_is_a_seed_too(make_run: MakeRun) -> None:
    def choices(seed: int, beta: float = 6.0) -> dict[str, Any]:
        teacher = recipe(seed=seed, name="its teacher")
        ann = recipe(seed=seed, ann=teacher, objective=choice("TRADES", beta=beta))
        return CONVERTED | {"ann": ann}

    runs = [make_run("net", folder=f"n{seed}", seed=seed, choices=choices(seed)) for seed in (0, 1, 2)]
    assert [row.seeds for row in ranking(runs)] == [(0, 1, 2)]
    other = make_run("net", folder="n3", seed=3, choices=choices(3, beta=1.0))
    assert sorted(row.seeds for row in ranking([*runs, other])) == [(0, 1, 2), (3,)]


def test_learning_begins_at_epoch_0(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", choices=CONVERTED, starts_converted=True))
    (validation,) = page.drawings("validation")
    assert "Before any training: clean is 50; under attack is 25. After the last epoch: clean ends at " in validation
    assert len(re.findall(r"<use ", "".join(re.findall(r"<g clip-path.*?</g>", validation, re.DOTALL)))) == 2
    (losses,) = page.drawings("losses")
    assert "Before any training" not in losses
    assert "<use " not in "".join(re.findall(r"<g clip-path.*?</g>", losses, re.DOTALL))
    assert "Dots at epoch 0: the network right after its conversion from the ANN" in page.text


def test_epoch_0_may_be_all_there_is(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net", choices=CONVERTED, starts_converted=True, epochs=0))
    assert page.drawings("losses") == []
    (validation,) = page.drawings("validation")
    assert "Before any training: clean is 50; under attack is 25." in validation
    assert "After the last epoch" not in validation
    assert re.findall(r">(-?[\d.−]+)</text>", validation)[0] == "0"  # the only epoch
    assert "0.1" not in "".join(re.findall(r"<text[^>]*>([^<]*)</text>", validation))
    assert len(re.findall(r"<use ", "".join(re.findall(r"<g clip-path.*?</g>", validation, re.DOTALL)))) == 2


def test_a_trained_network_has_no_dots(make_run: MakeRun, report: Callable[..., Page]) -> None:
    page = report(make_run("net"))
    assert "Dots at epoch 0" not in page.text
    assert len(page.drawings("losses")) == len(page.drawings("validation")) == 1
    for drawing in page.drawings("validation") + page.drawings("losses"):
        assert "Before any training" not in drawing
        assert "<g clip-path" not in drawing

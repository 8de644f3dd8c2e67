"""Can all in a report be told from its ground? WCAG 2.2, level AA: 4.5 : 1 for text, 3 : 1 for marks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import spikeproof.reports.forms as forms

FORMS = Path(forms.__file__).parent
SERIES = [f"series-{number}" for number in range(10)]
ATTACKS = [f"attack-{number}" for number in range(6)]
TEXTS = [
    *((colour, "paper") for colour in ("ink", "quiet", "link", "broken")),
    *((colour, "warning") for colour in ("ink", "quiet", "link")),
]
MARKS = [
    *((colour, "paper") for colour in (*SERIES, *ATTACKS, "wrong", "holds", "warning-edge")),
    *((colour, "track") for colour in ("ink", "appeared", "vanished", "touched", "holds", "attack-1")),
    ("warning-edge", "warning"),
]


def palettes() -> dict[str, dict[str, str]]:
    """The colours by name, in light and in dark."""
    text = "".join((FORMS / name).read_text(encoding="utf-8") for name in ("report.css", "recordings.css"))
    dark = "".join(re.findall(r"prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", text, re.DOTALL))
    light = "".join(re.findall(r"^:root \{(.*?)\}", text, re.DOTALL | re.MULTILINE))
    first = dict(_colours(light))
    return {"light": first, "dark": first | dict(_colours(dark))}


def _colours(css: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", css)


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1, the same, to 21, black on white."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_the_ends_of_the_scale() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the usual example of what just fails


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXTS, 4.5), (MARKS, 3.0)], ids=["texts", "marks"])
def test_every_pair_of_colours_has_enough(scheme: str, pairs: list[tuple[str, str]], least: float) -> None:
    palette = palettes()[scheme]
    found = {f"{front} on {ground}": contrast(palette[front], palette[ground]) for front, ground in pairs}
    assert {pair: round(value, 2) for pair, value in found.items() if value < least} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_attacks_side_by_side_grow_lighter_or_darker(scheme: str) -> None:
    """They stand in a stack: their order is told by brightness, which everybody sees."""
    steps = [luminance(palettes()[scheme][name]) for name in ATTACKS]
    assert steps in (sorted(steps), sorted(steps, reverse=True))


def test_no_colour_is_left_out() -> None:
    named = {colour for pair in (*TEXTS, *MARKS) for colour in pair}
    assert set(palettes()["light"]) - named == {"rule"}  # lines between rows, which say nothing


def test_the_words_of_a_fault() -> None:
    front, ground = re.findall(r"\.fault \{ color: (#\w+); background: (#\w+)", (FORMS / "report.css").read_text())[0]
    assert contrast(front.replace("#fff", "#ffffff"), ground) >= 4.5

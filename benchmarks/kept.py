"""What does each network seem to keep, what does it keep, and how much of its ANN's robustness is that?

`python -m benchmarks.kept results/cifar10_small.json results/cifar10_small_habit.json --out FIGURE` reads reports in
JSON of networks that were evaluated under the suites `standard` and `habit`. It prints a table and draws it: a hollow
mark for what the habit leaves unbroken, a full one for `standard`, and a line where the ANN is.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from spikeproof.choices import UserError
from spikeproof.untrusted.texts import json_in, text_of

ANN = "ANN, adversarial"
SEEMS, IS = "#7a7f87", "#0072b2"
STYLE: dict[Any, Any] = {"svg.hashsalt": "spikeproof", "font.size": 9, "axes.spines.top": False}
STYLE |= {"axes.spines.left": False, "axes.spines.right": False}


@dataclass(frozen=True)
class Kept:
    """Of one network, in %, a number a seed: clean, under `habit`, under `standard`."""

    name: str
    clean: tuple[float, ...]
    habit: tuple[float, ...]
    standard: tuple[float, ...]


def kept_in(rows: list[dict[str, Any]]) -> list[Kept]:
    """The networks that were evaluated under both suites, the best under `standard` first; raises `UserError` for none.

    The threat is the last one of each row: the largest radius.
    """
    standard, habit = (
        {row["name"]: row for row in rows if row["status"] == "ok" and row["protocol_facets"]["suite"] == suite}
        for suite in ("standard", "habit")
    )
    found = [
        Kept(name, percent(standard[name]["clean_by_seed"]), robust(habit[name]), robust(standard[name]))
        for name in standard.keys() & habit.keys()
    ]
    if not found:
        raise UserError("no network was evaluated under both suites, habit and standard")
    return sorted(found, key=lambda one: (-fmean(one.standard), one.name))


def robust(row: dict[str, Any]) -> tuple[float, ...]:
    return percent(list(row["robust_by_seed"].values())[-1])


def percent(shares: list[float]) -> tuple[float, ...]:
    return tuple(100 * share for share in shares)


def table(found: list[Kept], ann: Kept) -> str:
    """In Markdown; the last column is the mean under `standard` as a share of the ANN's."""
    lines = ["| network | clean | `habit` | `standard` | of the ANN's |", "|---|--:|--:|--:|--:|"]
    for one in found:
        numbers = " | ".join(f"{fmean(values):.1f}" for values in (one.clean, one.habit, one.standard))
        lines.append(
            f"| {one.name.replace('*', chr(92) + '*')} | {numbers} | {fmean(one.standard) / fmean(ann.standard):.2f} |"
        )
    return "\n".join(lines)


def draw(found: list[Kept], ann: Kept, what: str, out: Path) -> None:
    """The table as a figure, a line a network, the best at the top; small marks are seeds."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.6 + 0.3 * len(found)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(fmean(ann.standard), color=IS, linewidth=0.8, linestyle=":")
        for place, one in enumerate(reversed(found)):
            seems, really = fmean(one.habit), fmean(one.standard)
            axes.plot([really, seems], [place, place], color=SEEMS, linewidth=1)
            axes.plot(one.habit, [place] * len(one.habit), "|", color=SEEMS, markersize=5)
            axes.plot(one.standard, [place] * len(one.standard), "|", color=IS, markersize=5)
            axes.plot(seems, place, "o", color=SEEMS, markerfacecolor="white", label="habit" if not place else None)
            axes.plot(really, place, "o", color=IS, label="standard" if not place else None)
        axes.set_yticks(range(len(found)), [one.name for one in reversed(found)])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"unbroken test images, {what}, %\ndotted: {ann.name}, under standard")
        axes.legend(loc="lower right", frameon=False)
        figure.savefig(out, metadata={"Date": None}, facecolor="white")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "reports", type=Path, nargs="+", help="in JSON: spikeproof report RUNS --verdicts habit --out X.json"
    )
    parser.add_argument("--ann", default=ANN, help=f"the network that the others are measured by (default {ANN})")
    parser.add_argument("--out", type=Path, required=True, help="the figure: .svg or .png")
    options = parser.parse_args(arguments)
    try:
        rows = [row for report in options.reports for row in json_in(text_of(report))]
        found = kept_in(rows)
        ann = next((one for one in found if one.name == options.ann), None)
        if ann is None:
            raise UserError(f"there is no network {json.dumps(options.ann)} under both suites")
    except UserError as error:
        parser.error(str(error))
    facets = rows[0]["protocol_facets"]
    draw(found, ann, f"{facets['data set'].split('(')[0]}, {list(rows[0]['robust'])[-1]}", options.out)
    print(table(found, ann))


if __name__ == "__main__":
    main()

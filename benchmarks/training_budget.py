"""Does longer training make robust, or only look so? `python -m benchmarks.training_budget --epochs 2,5,10 --out FILE`.

Adversarial training of the same network with other neurons, for several numbers of epochs, each with a schedule of its
own from start to end. Beside what the papers' habit leaves stands what `standard` leaves: in a table, and, with
`--figure`, as curves. Stopped, the command goes on where it was. `--images` are of the test part; nothing is chosen.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.kept import STYLE
from benchmarks.records import read_before, write_json
from benchmarks.robust_neurons import TRAINED_AT, VARIANTS, judged, recipe
from spikeproof.choices import UserError
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json

NAMES = ("ANN", "IF, soft, detached, half charged, T = 4", "LIF, hard")
COLOURS = ("#7a7f87", "#0072b2", "#d55e00", "#009e73", "#cc79a7")

Record = dict[str, dict[str, list[dict[str, Any]]]]
"""By neurons and number of epochs: what was found, a seed each."""


def left(runs: list[dict[str, Any]], suite: str) -> float:
    return fmean(run[suite]["left"] for run in runs)


def table(record: Record) -> str:
    """In Markdown, a line for each neuron and number of epochs; means of the seeds."""
    lines = ["| Neurons | Epochs | Clean, % | Habit, % | `standard`, % |", "| --- | --: | --: | --: | --: |"]
    for name, by_epochs in record.items():
        for epochs, runs in by_epochs.items():
            clean = fmean(run["clean"] for run in runs)
            lines.append(
                f"| {name} | {epochs} | {clean:.1f} | {left(runs, 'habit'):.1f} | {left(runs, 'standard'):.1f} |"
            )
    return "\n".join(lines)


def draw(record: Record, what: str, out: Path) -> None:
    """Curves over epochs: full lines under `standard`, dashed ones under the habit; small marks are seeds."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for colour, (name, by_epochs) in zip(COLOURS, record.items(), strict=False):
            epochs = [int(each) for each in by_epochs]
            for suite, style in (("standard", "-"), ("habit", "--")):
                means = [left(runs, suite) for runs in by_epochs.values()]
                label = name if suite == "standard" else None
                axes.plot(epochs, means, style, color=colour, marker="o", markersize=4, label=label)
            for each, runs in zip(epochs, by_epochs.values(), strict=True):
                axes.plot([each] * len(runs), [run["standard"]["left"] for run in runs], "|", color=colour)
        axes.set_xscale("log", base=2)
        ticks = sorted({int(each) for by_epochs in record.values() for each in by_epochs})
        axes.set_xticks(ticks, [str(each) for each in ticks])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epochs of adversarial training")
        axes.set_ylabel(f"unbroken, {what}, %\nfull: standard, dashed: habit")
        axes.legend(loc="lower right", frameon=False)
        figure.savefig(out, metadata={"Date": None}, facecolor="white")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(TRAINED_AT), default="digits")
    parser.add_argument("--epochs", default="2,5,10,20,40", help="separated by commas (default 2,5,10,20,40)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=360)
    parser.add_argument("--folder", type=Path, default=Path("runs/training_budget"))
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after every network")
    parser.add_argument("--figure", type=Path, help=".svg or .png")
    options = parser.parse_args(arguments)
    known = {variant.name: variant for variant in VARIANTS}
    asked = {"data": options.data, "images": options.images, "eps": TRAINED_AT[options.data]}
    try:
        record: Record = read_before(options.out, asked, "networks")
    except UserError as error:
        parser.error(str(error))
    lengths = sorted(int(each) for each in options.epochs.split(","))
    for name in NAMES:
        for epochs in lengths:
            runs = record.setdefault(name, {}).setdefault(str(epochs), [])
            for seed in range(len(runs), options.seeds):
                one = recipe(options.data, known[name]).seeded(seed)
                one = replace(one, training=replace(one.training, epochs=epochs))
                described = f"{name}, {epochs} epochs, seed {seed}"
                runs.append(
                    judged(one, asked["eps"], options.images, options.folder / options.data / described, described)
                )
                write_json(options.out, asked | {"networks": record, "environment": as_json(environment())})
    record = {name: dict(sorted(runs.items(), key=lambda one: int(one[0]))) for name, runs in record.items()}
    if options.figure:
        draw(record, f"{options.data}, Linf {asked['eps']:g}", options.figure)
    print(table(record))


if __name__ == "__main__":
    main()

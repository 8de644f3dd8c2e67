"""How far does a weak evaluation overstate? `python -m benchmarks.suites RUN... --eps 8/255 --images 500`.

The same networks and images under several suites, side by side: how many images no attack broke, what it cost in
evaluations of gradients and of the network, the red flags that were raised, and what all of them together left. The
verdicts are kept in the run folders, as those of every evaluation are; what is there already is not done again.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.records import write_json
from spikeproof.attacks import Linf
from spikeproof.cli.files import suite_of
from spikeproof.evaluation import Protocol, evaluate_run
from spikeproof.progress import bar
from spikeproof.runs import Run, environment
from spikeproof.runs.json_forms import as_json

SUITES = ("quick", "habit", "autoattack", "standard", "ensemble19")
NAIVE = 19 * 100  # gradients an image: every member of the ensemble on every image


def judged(run: Run, suite: str, eps: str, images: int | None, draws: int | None) -> tuple[dict[str, Any], np.ndarray]:
    """One network under one suite, and which images it left unbroken."""
    protocol = Protocol(threats=(Linf(eps),), suite=suite_of(suite), images=images, draws=draws)
    with bar(f"{suite} {run.name}") as progress:
        made = evaluate_run(run, protocol, progress=progress)
    found = made.read_json("verdicts.json")
    (threat,) = found["threats"]
    kept = ("status", "reason", "images", "gradient_evaluations_per_image", "forward_evaluations_per_image", "seconds")
    kept += ("gradient_evaluations_of_flags",)
    held = made.read_arrays("verdicts.npz")["broken_at"] > 0
    told = {name: found[name] for name in kept} | {
        "clean": found["clean_accuracy"],
        "robust": threat["robust_accuracy"],
        "unbroken": float(held.mean()),
        "broken_by": {name: count for name, count in threat["broken_by"].items() if count},
        "raised": {flag["name"]: flag["number"] for flag in found["flags"] if flag["raised"]},
        "environment": found["environment"],
    }
    return told, held


def table(networks: dict[str, dict[str, Any]], together: dict[str, float], suites: list[str]) -> str:
    """Markdown: a line a network; unbroken images in %, * where the verdict is not ok, and gradients an image. The last
    column is what all suites together left."""
    lines = [f"| Network | Clean | {' | '.join(suites)} | all |", f"| --- | --: |{' --: |' * (len(suites) + 1)}"]
    for name, found in networks.items():
        clean = next(iter(found.values()))["clean"]
        cells = [_cell(found[suite]) if suite in found else "–" for suite in suites]
        lines.append(f"| {name} | {100 * clean['value']:.1f} | {' | '.join(cells)} | {100 * together[name]:.1f} |")
    return "\n".join(lines)


def _cell(found: dict[str, Any]) -> str:
    doubt = "" if found["status"] == "ok" else "\\*"
    return f"{100 * found['unbroken']:.1f}{doubt} ({found['gradient_evaluations_per_image']:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--eps", required=True, help="radius of Linf in pixel units, 8/255 for example")
    parser.add_argument("--images", type=int, help="how many test images (default: all)")
    parser.add_argument(
        "--suites",
        default=",".join(SUITES),
        help="names, as `spikeproof evaluate --suite` takes them, separated by commas",
    )
    parser.add_argument("--draws", type=int, default=Protocol.draws, help="passes of a network that draws noise")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    suites = options.suites.split(",")
    networks, together = {}, {}
    for run in map(Run, options.runs):
        found = {suite: judged(run, suite, options.eps, options.images, options.draws) for suite in suites}
        networks[run.name] = {suite: told for suite, (told, _) in found.items()}
        together[run.name] = float(np.all([held for _, held in found.values()], axis=0).mean())
    Console(width=200).print(table(networks, together, suites), markup=False, highlight=False)
    if options.out:
        record = {
            "eps": options.eps,
            "networks": networks,
            "unbroken_by_all": together,
            "naive_ensemble": NAIVE,
            "environment": as_json(environment()),
        }
        write_json(options.out, record)


if __name__ == "__main__":
    main()

"""How far do bounds without noise certify small networks? `python -m benchmarks.bounds [--out docs/bounds.json]`.

An MLP and a small CNN on digits, each trained plainly, adversarially and by intervals. The same test images are
certified by intervals step by step, by spike trains, by linear programs and by branch and bound, and attacked. Run
folders are under `--folder`; stopped, training goes on where it was. Prints the table of docs/certificates.md.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.records import write_json
from spikeproof.attacks import APGD, PGD, Linf, Margin
from spikeproof.certificates import BranchAndBound, Certificate, IntervalBounds, certify
from spikeproof.data import Digits
from spikeproof.objectives import Adversarial, IntervalTraining, Objective, Standard
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json
from spikeproof.snn import LIF, MLP, ATan, Network, SmallCNN, SpikingNetwork, attack_view
from spikeproof.training import AdamW, Recipe, Selection, Training, train

EPS = (0.005, 0.01, 0.02, 0.05)
RAMP = 12  # epochs
NETWORKS = {
    "MLP": (Network(architecture=MLP(hidden=(64, 64)), neuron=LIF(gradient=ATan(alpha=1.0))), 0.03),
    "SmallCNN": (Network(architecture=SmallCNN(widths=(8, 16, 16)), neuron=LIF(gradient=ATan(alpha=1.0))), 0.01),
}  # and the radius of interval training
TRAININGS = ("standard", "adversarial", "interval")
ATTACKS = (APGD(steps=20), APGD(steps=20, loss=Margin()))


def recipe(network: str, training: str) -> Recipe:
    chosen, radius = NETWORKS[network]
    objectives: dict[str, Objective] = {
        "standard": Standard(),
        "adversarial": Adversarial(threat=Linf(0.05), attack=PGD(steps=5, keep="last")),
        "interval": IntervalTraining(eps=radius, ramp=RAMP),
    }
    return Recipe(
        name=f"{network} {training}",
        data=Digits(),
        network=chosen,
        objective=objectives[training],
        training=Training(
            epochs=20,
            batch=64,
            optimiser=AdamW(learning_rate=0.005),
            gradient_clip=1.0,
            selection=Selection(threat=Linf(0.05), attack=PGD(steps=5), images=100),
        ),
    )


def certified(model: SpikingNetwork, x: Tensor, y: Tensor, certificate: Certificate) -> dict[str, Any]:
    """Who is right and certified at which of `EPS`, and how long that took."""
    started = time.process_time()
    found = certify(model, (x, y), certificate)
    seconds = (time.process_time() - started) / len(x)
    right = found.prediction == found.label
    return {
        "certificate": repr(certificate),
        "certified": {f"{eps:g}": int((right & (found.radius >= eps)).sum()) for eps in EPS},
        "refuted": int((right & found.refuted()).sum()),
        "open": int((right & (found.radius == 0) & ~found.refuted()).sum()),
        "processor_seconds_an_image": round(seconds, 3),
    }


def left(model: SpikingNetwork, x: Tensor, y: Tensor) -> dict[str, int]:
    """How many images are right, at each of `EPS`, under both attacks."""
    view, found = attack_view(model), {}
    for eps in EPS:
        right = model(x).argmax(1) == y
        for attack in ATTACKS:
            right &= model(attack(view, x, y, Linf(eps))).argmax(1) == y
        found[f"{eps:g}"] = int(right.sum())
    return found


def measured(network: str, training: str, images: int, programs: int, seconds: float, folder: Path) -> dict[str, Any]:
    """A network's row; the first `programs` of the images are asked of linear programs too."""
    made = recipe(network, training)
    started = time.process_time()
    model = train(made, folder / made.name)
    trained = time.process_time() - started
    x, y = Digits().part("test").batch(torch.arange(images))
    unbroken = left(model, x, y)
    found = {
        "network": network,
        "training": training,
        "images": images,
        "right": int((model(x).argmax(1) == y).sum()),
        "unbroken": unbroken,
        "steps": certified(model, x, y, IntervalBounds(eps=max(EPS), sizes=40, trains=False)),
        "trains": certified(model, x, y, IntervalBounds(eps=max(EPS), sizes=40)),
        "programs": [],
        "training_processor_seconds": round(trained, 1),
    }
    x, y = x[:programs], y[:programs]
    for eps in EPS if programs else ():
        for branch in (False, True):
            certificate = BranchAndBound(eps=eps, seconds=seconds, branch=branch, attack=ATTACKS[1])
            asked = certified(model, x, y, certificate)
            known = {"eps": eps, "branch": branch, "images": programs, "certified": asked["certified"][f"{eps:g}"]}
            names = ("refuted", "open", "processor_seconds_an_image")
            found["programs"].append(known | {name: asked[name] for name in names})
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """In %, of the first images; of linear programs and branch and bound in images: certified, refuted, open."""
    heads = ["Network", "trained", "right", "eps", "unbroken", "by steps", "by trains", "programs", "branch and bound"]
    lines = [f"| {' | '.join(heads)} |", f"| --- | --- |{' --: |' * (len(heads) - 2)}"]
    for row in rows:
        for number, eps in enumerate(EPS):
            key, share = f"{eps:g}", 100 / row["images"]
            name = [row["network"], row["training"], f"{share * row['right']:.0f}"] if not number else ["", "", ""]
            shares = [row["unbroken"][key], row["steps"]["certified"][key], row["trains"]["certified"][key]]
            asked = [found for found in row["programs"] if found["eps"] == eps]
            counts = [f"{found['certified']}, {found['refuted']}, {found['open']}" for found in asked] or ["–", "–"]
            lines.append(f"| {' | '.join([*name, key, *(f'{share * one:.0f}' for one in shares), *counts])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=tuple(NETWORKS), help="this one alone; may be repeated")
    parser.add_argument("--training", action="append", choices=TRAININGS, help="likewise")
    parser.add_argument("--images", type=int, default=100, help="test images, from the first on")
    parser.add_argument("--programs", type=int, default=20, help="so many of them for linear programs")
    parser.add_argument("--seconds", type=float, default=10.0, help="of branch and bound, an image")
    parser.add_argument("--folder", type=Path, default=Path("runs/bounds"), help="for the run folders")
    parser.add_argument("--out", type=Path, help="JSON file; what is there of other networks stays")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = json.loads(options.out.read_text())["rows"] if _there(options.out) else []
    for network in options.network or NETWORKS:
        for training in options.training or TRAININGS:
            row = measured(network, training, options.images, options.programs, options.seconds, options.folder)
            rows = [one for one in rows if (one["network"], one["training"]) != (network, training)] + [row]
            Console(width=200).print(table([row]), markup=False, highlight=False)
            if options.out:
                write_json(options.out, {"rows": rows, "environment": as_json(environment())})


def _there(path: Path | None) -> bool:
    return path is not None and path.exists()


if __name__ == "__main__":
    main()

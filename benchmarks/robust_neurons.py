"""What makes a spiking network robust? `python -m benchmarks.robust_neurons --data digits --seeds 3 --out FILE`.

The same adversarial training of the same network, but for its neurons: reset, leak, time steps, the slope's width, and
the ANN with ReLU in their place. Beside the robust accuracy under the papers' habit stands that under `standard`, and
what share of the ANN's it is. Stopped, the command goes on where it was. `--images` are of the test part; nothing is
chosen by them.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from benchmarks.records import read_before, write_json
from spikeproof import Linf, Protocol, Recipe, evaluate, suite_named, train
from spikeproof.attacks import PGD
from spikeproof.choices import UserError
from spikeproof.cli.files import recipe_in
from spikeproof.evaluation import Verdicts
from spikeproof.objectives import Adversarial
from spikeproof.progress import bar
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.weights import load_model
from spikeproof.snn import IF, LIF, QCFS, Neuron, ReLU, Triangle

STANDARD = replace(suite_named("standard"), name="standard, no flags that attack", examined=0)
TRAINED_AT = {"digits": 0.15, "fashion_mnist": 0.1, "cifar10_small": 8 / 255}
ANN = "ANN"


@dataclass(frozen=True)
class Variant:
    """Neurons and time steps, and by what name the table shows them."""

    name: str
    neuron: Neuron
    steps: int


def integrating(**settings: Any) -> Neuron:
    """IF with a soft reset, held constant in training too."""
    return IF(**{"reset": "soft", "detach_reset": True} | settings)


VARIANTS = (
    Variant(ANN, ReLU(), 1),
    Variant("ANN of four levels, bound 1", QCFS(bound=1.0), 1),
    Variant("ANN of four levels, bound 8", QCFS(bound=8.0), 1),
    Variant("LIF, hard", LIF(), 4),
    Variant("LIF, hard, detached", LIF(detach_reset=True), 4),
    Variant("LIF, hard, detached, width 2", LIF(detach_reset=True, gradient=Triangle(width=2.0)), 4),
    Variant("LIF, hard, detached, width 0.5", LIF(detach_reset=True, gradient=Triangle(width=0.5)), 4),
    Variant("LIF, hard, detached, T = 8", LIF(detach_reset=True), 8),
    Variant("LIF, soft, detached", LIF(reset="soft", detach_reset=True), 4),
    Variant("IF, hard, detached", IF(detach_reset=True), 4),
    Variant("IF, soft, detached", integrating(), 4),
    Variant("IF, soft, detached, T = 8", integrating(), 8),
    Variant("IF, soft, T = 8", integrating(detach_reset=False), 8),
    Variant("IF, soft, detached, half charged, T = 4", integrating(charge=0.5), 4),
    Variant("IF, soft, detached, half charged, two phases, T = 4", integrating(charge=0.5, two_phases=True), 4),
)


def recipe(data: str, variant: Variant) -> Recipe:
    """Adversarial training by PGD-5 of `variant`, after the configuration of the data set."""
    config = recipe_in(Path(data, "adversarial"))
    threat = Linf(eps=TRAINED_AT[data])
    return replace(
        config,
        name=variant.name,
        network=replace(config.network, neuron=variant.neuron, steps=variant.steps),
        objective=Adversarial(threat=threat, attack=PGD(steps=5, keep="last")),
        training=replace(config.training, selection=replace(config.training.selection, threat=threat)),
    )


def judged(recipe: Recipe, eps: float, images: int, folder: Path, described: str) -> dict[str, Any]:
    """Trained in `folder`: clean accuracy, and what is left under the habit and under `standard`, in %; gradients an
    image."""
    with bar(described) as progress:
        train(recipe, folder, progress=progress)
        model, found = load_model(folder), {}
        for name, suite in (("habit", suite_named("habit")), ("standard", STANDARD)):
            protocol = Protocol(threats=(Linf(eps),), suite=suite, images=images)
            verdicts = evaluate(model, recipe.data, protocol, progress=progress)
            threat = verdicts.summary()["threats"][0]
            found[name] = {
                "left": unbroken(verdicts),
                "status": verdicts.diagnosis.status,
                "gradients": verdicts.summary()["gradient_evaluations_per_image"],
                "broken_by": {attack: count for attack, count in threat["broken_by"].items() if count},
            }
    return {"clean": 100 * verdicts.clean_accuracy().value, **found}


def unbroken(verdicts: Verdicts) -> float:
    """The images of all, in %, that no attack broke, whatever the flags say."""
    return 100 * float((verdicts.arrays()["broken_at"] > 0).mean())


def table(record: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown, a line a variant: means, and deviations where there are several seeds."""
    lines = ["| Neurons | Clean, % | Habit, % | `standard`, % | Share of the ANN |", "| --- | --: | --: | --: | --: |"]
    whole = mean(run["standard"]["left"] for run in record[ANN]) if ANN in record else None
    for name, runs in record.items():
        left = [run["standard"]["left"] for run in runs]
        cells = [told([run["clean"] for run in runs]), told([run["habit"]["left"] for run in runs]), told(left)]
        share = "" if not whole else f"{mean(left) / whole:.2f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {share} |")
    return "\n".join(lines)


def told(values: list[float]) -> str:
    """Mean ± deviation (n - 1) of the seeds."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(TRAINED_AT), default="digits")
    parser.add_argument("--variants", help="names, separated by semicolons (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=360)
    parser.add_argument("--folder", type=Path, default=Path("runs/robust_neurons"))
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after every network")
    options = parser.parse_args()
    known = {variant.name: variant for variant in VARIANTS}
    names = options.variants.split(";") if options.variants else list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown variants {', '.join(unknown)}; there are {'; '.join(known)}")
    asked = {"data": options.data, "images": options.images, "eps": TRAINED_AT[options.data]}
    try:
        record = read_before(options.out, asked, "networks")
    except UserError as error:
        parser.error(str(error))
    for seed in range(options.seeds):
        for name in names:
            runs = record.setdefault(name, [])
            if len(runs) > seed:
                continue
            one, folder = recipe(options.data, known[name]).seeded(seed), options.folder / options.data
            described = f"{name}, seed {seed}"
            runs.append(judged(one, asked["eps"], options.images, folder / f"{name}-seed{seed}", described))
            whole = asked | {"networks": record, "environment": as_json(environment())}
            write_json(options.out, whole)
    Console(width=160).print(table(record), markup=False, highlight=False)


if __name__ == "__main__":
    main()

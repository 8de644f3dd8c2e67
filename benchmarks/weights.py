"""Which weight does a regulariser want? `python -m benchmarks.weights CONFIG --weights 0.001,0.01,0.1 --eps 8/255`.

Trains the configuration with each weight of its objective, and attacks each network on validation images by what has
gradients in `standard`: a weight chosen under a weak attack is the one that hides best. Square is left out: it needs
half of the time and hardly breaks one image more. The test part is not read. Stopped, the command goes on where it was;
what was found is in `--out`, and the best weight is the last line: of equals the one with the best clean accuracy.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from rich.console import Console

from benchmarks.records import read_before, write_json
from benchmarks.robust_neurons import STANDARD, unbroken
from spikeproof import Linf, Protocol, Recipe, UserError, evaluate, train
from spikeproof.attacks.attack import BlackBox
from spikeproof.choices import fields_of
from spikeproof.configs import from_config
from spikeproof.progress import bar
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.weights import load_model
from spikeproof.untrusted.settings import yaml_in
from spikeproof.untrusted.texts import text_of

CLIMBS = replace(
    STANDARD,
    name="gradients of standard",
    attacks=tuple(each for each in STANDARD.attacks if not isinstance(each, BlackBox)),
)


def recipe_in(config: Path, images: int) -> Recipe:
    """The recipe of a file; raises `UserError` where there is no weight to choose, or nothing to choose it by."""
    recipe: Recipe = from_config(yaml_in(text_of(config)), Recipe)
    if "weight" not in fields_of(type(recipe.objective)):
        raise UserError(f"{config}: {type(recipe.objective).__name__} has no weight to choose")
    if recipe.data.validation_images < images:
        raise UserError(
            f"{config}: a weight is chosen on {images} validation images, and the data set keeps "
            f"{recipe.data.validation_images}: set data.validation_images, or ask for fewer"
        )
    return recipe


def judged(recipe: Recipe, weight: float, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Clean and robust accuracy on validation images, in %."""
    one = replace(recipe, objective=replace(recipe.objective, weight=weight)).seeded(seed)  # type: ignore[type-var]
    folder = options.folder / f"{options.config.parent.name}-{options.config.stem}-weight{weight:g}-seed{seed}"
    protocol = Protocol(threats=(Linf(options.eps),), suite=CLIMBS, part="validation", images=options.images)
    with bar(f"weight {weight:g}, seed {seed}") as progress:
        train(one, folder, progress=progress)
        verdicts = evaluate(load_model(folder), one.data, protocol, progress=progress)
    return {"clean": 100 * verdicts.clean_accuracy().value, "robust": unbroken(verdicts)}


def means(runs: list[dict[str, float]]) -> tuple[float, float]:
    """Robust and clean accuracy, of all seeds: the larger pair is the better weight."""
    return fmean(run["robust"] for run in runs), fmean(run["clean"] for run in runs)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a file whose objective has a weight")
    parser.add_argument("--weights", required=True, help="the grid, separated by commas")
    parser.add_argument("--eps", required=True, help="radius of Linf in pixel units, 8/255 for example")
    parser.add_argument("--images", type=int, default=250, help="validation images (default 250)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/weights"))
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after every network")
    options = parser.parse_args(arguments)
    try:
        recipe = recipe_in(options.config, options.images)
        config = f"{options.config.parent.name}/{options.config.stem}"
        asked = {"config": config, "eps": options.eps, "images": options.images, "suite": CLIMBS.name}
        found: dict[str, list[dict[str, float]]] = read_before(options.out, asked, "weights")
    except UserError as error:
        parser.error(str(error))
    for weight in sorted({float(each) for each in options.weights.split(",")}):
        runs = found.setdefault(f"{weight:g}", [])
        for seed in range(len(runs), options.seeds):
            runs.append(judged(recipe, weight, options, seed))
            found = dict(sorted(found.items(), key=lambda one: float(one[0])))
            whole = asked | {"weights": found, "environment": as_json(environment())}
            write_json(options.out, whole)
    console = Console(width=120)
    for name, runs in found.items():
        told = ", ".join(f"{run['robust']:.1f} (clean {run['clean']:.1f})" for run in runs)
        console.print(f"weight {name}: {told}", markup=False, highlight=False)
    console.print(f"best: {max(found, key=lambda name: means(found[name]))}", markup=False, highlight=False)


if __name__ == "__main__":
    main()

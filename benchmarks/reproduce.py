"""Do the papers' recipes give the papers' numbers? `python -m benchmarks.reproduce --share 0.1 --device cuda`.

Trains every ``cifar10/vgg11_*`` that comes with spikeproof (or the files that are named), its epochs cut to a share of
the paper's, and attacks each network with the papers' attacks, one at a time and along the network's own slope, as
they did; and once along three slopes, the worst case of all. Started again, it goes on where it was.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.records import write_json
from spikeproof.attacks import FGSM, PGD, Along, Attack, Linf
from spikeproof.choices import UserError
from spikeproof.cli.files import recipe_in
from spikeproof.cli.shipped import SHIPPED
from spikeproof.evaluation import Protocol, Suite, evaluate
from spikeproof.progress import bar
from spikeproof.runs import Run, environment, sha256_of
from spikeproof.runs.json_forms import as_json
from spikeproof.training import Recipe, train

EPS = Linf(8 / 255)
ATTACKS: dict[str, Attack] = {
    "FGSM": FGSM(),
    "PGD-7": PGD(steps=7, relative_step=0.31875),  # 2.55/255
    "PGD-40": PGD(steps=40, relative_step=0.0625),  # 0.5/255
    "PGD-50 along three slopes": Along(),
}


def cut(recipe: Recipe, share: float) -> Recipe:
    """The recipe with this share of its epochs, its ANN's too; at least one where there were any."""
    epochs = recipe.training.epochs
    fewer = replace(recipe.training, epochs=max(min(epochs, 1), round(share * epochs)))
    return replace(recipe, training=fewer, ann=recipe.ann and cut(recipe.ann, share))


def row(path: Path, options: argparse.Namespace, known: dict[str, Any]) -> dict[str, Any]:
    """Accuracies of one network in [0, 1]; attacks that `known` has already are not repeated."""
    recipe = cut(recipe_in(path), options.share)
    folder = options.runs / path.stem
    with bar(f"train {path.stem}") as progress:
        model = train(recipe, folder, data_root=options.data_root, device=options.device, progress=progress)
    model = model.to(options.device)
    images = recipe.data.part("test", options.data_root).first(options.images)
    weights = sha256_of(folder / "model.safetensors")
    accuracies = dict(known["accuracy"]) if known.get("weights_sha256") == weights else {}
    for name, attack in ATTACKS.items():
        if name in accuracies:
            continue
        with bar(f"{path.stem}: {name}") as progress:
            suite = Suite(name=name, attacks=(attack,))
            protocol = Protocol(threats=(EPS,), suite=suite, draws=options.draws)
            found = evaluate(model, images, protocol, progress=progress)
        robust = found.robust_accuracy(0)
        accuracies |= {"clean": found.clean_accuracy().value, name: robust.value if robust else None}
    record = Run(folder).record
    return {
        "name": recipe.name,
        "weights_sha256": weights,
        "epochs": recipe.training.epochs,
        "ann_epochs": recipe.ann.training.epochs if recipe.ann else None,
        "training_seconds": record.training_seconds,
        "accuracy": accuracies,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__)
    parser.add_argument("configs", nargs="*", type=Path, default=sorted((SHIPPED / "cifar10").glob("vgg11_*.yaml")))
    parser.add_argument("--share", type=float, default=1.0, help="of the paper's epochs that are trained, in (0, 1]")
    parser.add_argument("--images", type=int, default=1000, help="test images, from the first on")
    parser.add_argument("--draws", type=int, default=4, help="passes that a stochastic network is averaged over")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-root", type=Path, default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs", "reproduce"), help="folder of the run folders")
    parser.add_argument("--out", type=Path, default=Path("build", "reproduce.json"))
    options = parser.parse_args(arguments)
    if not 0 < options.share <= 1:
        parser.error(f"--share is in (0, 1], not {options.share}")
    settings = {"threat": str(EPS), "share_of_epochs": options.share, "images": options.images, "draws": options.draws}
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    rows: dict[str, Any] = kept["rows"] if kept.get("settings") == settings else {}
    for path in options.configs:
        rows[path.stem] = row(path, options, rows.get(path.stem, {}))
        facts = {"environment": as_json(environment()), "settings": settings, "rows": rows}
        write_json(options.out, facts)
        shown = ", ".join(f"{k} {100 * v:.1f}" for k, v in rows[path.stem]["accuracy"].items() if v is not None)
        Console().print(f"{path.stem}: {shown}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")

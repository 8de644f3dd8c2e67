"""Do our attacks find what others' do? `python -m benchmarks.attack_agreement RUN... --eps EPS...`.

The same trained network, images, radius and steps: robust accuracy of each attack run alone, ours beside theirs, with
the clean accuracy on the same images. Starts are drawn anew by each library where the attack draws one, and for every
one of `--seeds`.
"""

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.records import write_json
from spikeproof.attacks import APGD, DLR, FAB, PGD, Attack, Linf, Square, Targeted, TargetedDLR
from spikeproof.configs import from_config
from spikeproof.data import DataSet
from spikeproof.evaluation import predict
from spikeproof.runs import Run, environment
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.weights import load_model
from spikeproof.snn import attack_view

STEPS, STEP = 20, 0.1  # of PGD, its step as a share of eps

Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]


def pairs(eps: float, seed: int, queries: int) -> dict[str, tuple[Attack, dict[str, Perturb]]]:
    """By name: our attack, and the same of other libraries; the first draws nothing."""
    walk = PGD(steps=STEPS, relative_step=STEP, start="clean", keep="last")
    return {
        f"PGD-{STEPS}, clean start": (walk, {"torchattacks": torchattacks_pgd(eps), "foolbox": foolbox_pgd(eps)}),
        "APGD-CE": (APGD(), {"pyautoattack": autoattack("apgd-ce", eps, seed)}),
        "APGD-DLR": (APGD(loss=DLR()), {"pyautoattack": autoattack("apgd-dlr", eps, seed)}),
        "APGD-T": (
            Targeted(attack=APGD(loss=TargetedDLR())),
            {"pyautoattack": autoattack("apgd-t", eps, seed)},
        ),
        "FAB-T": (FAB(), {"pyautoattack": autoattack("fab-t", eps, seed)}),
        f"Square, {queries:,} queries": (
            Square(queries=queries),
            {"pyautoattack": autoattack("square", eps, seed, queries)},
        ),
    }


def torchattacks_pgd(eps: float) -> Perturb:
    import torchattacks

    return lambda model, x, y: torchattacks.PGD(model, eps=eps, alpha=STEP * eps, steps=STEPS, random_start=False)(x, y)


def foolbox_pgd(eps: float) -> Perturb:
    import foolbox

    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP * eps, steps=STEPS, random_start=False)
    return lambda model, x, y: attack(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=eps)[
        0
    ]


def autoattack(name: str, eps: float, seed: int, queries: int | None = None) -> Perturb:
    from pyautoattack import AutoAttack

    def perturb(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        attack = AutoAttack(
            model, norm="Linf", eps=eps, seed=seed, version="custom", attacks=[name], device=str(x.device)
        )
        attack.verbose = False
        attack.apgd.n_restarts = attack.fab.n_restarts = 1  # as in its standard version
        attack.fab.n_target_classes = attack.apgd_targeted.n_target_classes = 9
        if queries is not None:
            attack.square.n_queries = queries
        found = attack.run_standard_evaluation(x, y, batch_size=len(x))
        return found[0] if isinstance(found, tuple) else found

    return perturb


def compared(
    run: Path, eps: float, images: int, batch: int, seeds: int, queries: int, names: list[str], console: Console
) -> dict[str, Any]:
    """Robust accuracies of one network, in % of its first test images, one for each seed."""
    model = load_model(run)
    data: DataSet = from_config(Run(run).record.config["data"], DataSet)
    part = data.part("test")
    images = min(images, len(part))
    x, y = part.first(images).batch(torch.arange(images))
    right = predict(model, x).argmax(1) == y
    record: dict[str, Any] = {
        "run": run.name,
        "data": type(data).__name__,
        "eps": eps,
        "images": images,
        "clean": share(right, images),
        "attacks": {},
    }
    x, y, attacked, threat = x[right], y[right], attack_view(model), Linf(eps)
    for seed in range(seeds):
        for name, (ours, theirs) in pairs(eps, seed, queries).items():
            whole = isinstance(ours, PGD)  # what counts is its last step, whatever broke on the way; it draws nothing
            if (whole and seed) or (names and name.split(",")[0] not in names):
                continue
            runs: dict[str, Perturb] = {
                "spikeproof": lambda m, x, y, ours=ours, seed=seed, whole=whole: (
                    ours.run(m, x, y, threat, seed=seed, stop=not whole).x
                ),
                **theirs,
            }
            row = record["attacks"].setdefault(name, {})
            for library, perturb in runs.items():
                started, held = time.monotonic(), 0
                for part_x, part_y in zip(x.split(batch), y.split(batch), strict=True):
                    found = threat.project(perturb(attacked, part_x, part_y).detach(), part_x)
                    held += int((predict(model, found).argmax(1) == part_y).sum())
                each = row.setdefault(library, {"robust": [], "seconds": []})
                each["robust"].append(100 * held / images)
                each["seconds"].append(time.monotonic() - started)
            told = ", ".join(f"{library} {found['robust'][-1]:.1f} %" for library, found in row.items())
            console.print(f"{run.name}, seed {seed}: {name}: {told}")
    return record


def share(held: Tensor, images: int) -> float:
    return 100 * int(held.sum()) / images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--eps", type=float, nargs="+", required=True, help="one radius a run")
    parser.add_argument("--images", type=int, default=500, help="at most so many of the test part")
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=1, help="how many times starts are drawn")
    parser.add_argument("--attacks", help="APGD-CE,Square for example (default: all)")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    if len(options.eps) != len(options.runs):
        parser.error(f"{len(options.runs)} runs need as many eps, not {len(options.eps)}")
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")  # the peers' own
    names = options.attacks.split(",") if options.attacks else []
    rows = [
        compared(run, eps, options.images, options.batch, options.seeds, options.queries, names, Console())
        for run, eps in zip(options.runs, options.eps, strict=True)
    ]
    if options.out:
        record = {"networks": rows, "environment": as_json(environment())}
        write_json(options.out, record)


if __name__ == "__main__":
    main()

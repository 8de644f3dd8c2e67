"""Which climb finds most, for how many gradients? `python -m benchmarks.climbs RUN... --eps EPS... --out FILE`.

Each candidate attacks the images that FGSM and PGD-20 leave, alone: what is left, and what did it cost? The best
sets of one, two and three are found by trying all. Square then attacks what the climbs of `standard` leave. That
is what gradients missed. Stopped, the command goes on with the next network.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.records import write_json
from spikeproof.attacks import (
    APGD,
    DLR,
    FGSM,
    PGD,
    SAPGD,
    Along,
    Attack,
    CrossEntropy,
    Linf,
    Margin,
    Square,
    Targeted,
    TargetedDLR,
    TargetedMargin,
    TwinTransfer,
)
from spikeproof.attacks.losses import AttackLoss
from spikeproof.configs import from_config
from spikeproof.data import DataSet
from spikeproof.evaluation import predict, suite_named
from spikeproof.runs import Run, environment
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.weights import load_model
from spikeproof.snn import ASSG, BPTR, HART, AsANN, ATan, GradientPath, Triangle, attack_view

FIRST: tuple[Attack, ...] = (FGSM(), PGD(steps=20, loss=Margin()))
SHARP = ASSG(share=0.9)


def candidates() -> dict[str, Attack]:
    """By name; those of one leg of 100 gradients are compared in sets."""

    def sa(path: GradientPath, loss: AttackLoss = Margin()) -> Attack:
        return Along(attack=SAPGD(loss=loss), paths=(path,))

    def apgd(path: GradientPath, loss: AttackLoss = CrossEntropy()) -> Attack:
        return Along(attack=APGD(loss=loss), paths=(path,))

    targeted = Targeted(attack=SAPGD(steps=50, loss=TargetedMargin()), classes=2)
    shares = {f"SA-PGD, margin, ASSG {share:g}": sa(ASSG(share=share)) for share in (0.7, 0.8, 0.85, 0.9, 0.95)}
    return shares | {
        "SA-PGD, margin, ASSG 0.9, through the reset": sa(ASSG(share=0.9, detach_reset=False)),
        "SA-PGD, cross-entropy, ASSG 0.9": sa(SHARP, CrossEntropy()),
        "SA-PGD, DLR, ASSG 0.9": sa(SHARP, DLR()),
        "SA-PGD, margin, ATan 10": sa(ATan(alpha=10.0)),
        "SA-PGD, margin, BPTR": sa(BPTR()),
        "APGD, cross-entropy, ASSG 0.8": apgd(ASSG()),
        "APGD, cross-entropy, ASSG 0.9": apgd(SHARP),
        "APGD, cross-entropy, ATan 10": apgd(ATan(alpha=10.0)),
        "APGD, cross-entropy, triangle": apgd(Triangle()),
        "APGD, cross-entropy, HART": apgd(HART()),
        "APGD, cross-entropy, the ANN's derivative": apgd(AsANN()),
        "APGD, margin, ASSG 0.9": apgd(SHARP, Margin()),
        "APGD, DLR, ASSG 0.9": apgd(SHARP, DLR()),
        "SA-PGD-50 to two classes, ASSG 0.9": Along(attack=targeted, paths=(SHARP,)),
        "APGD-T to nine classes, ASSG 0.9": Along(attack=Targeted(attack=APGD(loss=TargetedDLR())), paths=(SHARP,)),
        "APGD on the ANN twin": TwinTransfer(),
    }


class Bench:
    """One network and its images, and what attacks break."""

    def __init__(self, run: Path, eps: float, images: int) -> None:
        self.model = load_model(run)
        data: DataSet = from_config(Run(run).record.config["data"], DataSet)
        self.x, self.y = data.part("test").first(images).batch(torch.arange(images))
        self.attacked, self.threat = attack_view(self.model), Linf(eps)
        self.right = predict(self.model, self.x).argmax(1) == self.y

    def left(self, attack: Attack, mask: Tensor) -> tuple[Tensor, float]:
        """Which of the images in `mask` are left, and the mean number of gradients an image."""
        index = mask.nonzero().squeeze(1)
        if not len(index):
            return mask, 0.0
        x, y = self.x[index], self.y[index]
        found = attack.run(self.attacked, x, y, self.threat, stop=True, index=index)
        held = predict(self.model, self.threat.project(found.x, x)).argmax(1) == y
        return mask.index_put((index,), held), float(found.gradients.float().mean())


def compared(run: Path, eps: float, images: int, queries: list[int], console: Console) -> dict[str, Any]:
    bench = Bench(run, eps, images)
    base = bench.right
    for attack in FIRST:
        base, _ = bench.left(attack, base)
    rows, held = {}, {}
    for name, attack in candidates().items():
        held[name], gradients = bench.left(attack, base)
        rows[name] = {"left": int(held[name].sum()), "gradients": gradients}
        console.print(f"{run.name}: {name}: {rows[name]['left']} left, {gradients:.0f} gradients", highlight=False)
    alike = [name for name in rows if "nine" not in name and "twin" not in name]
    sets = {
        str(size): sorted(
            (int(torch.stack([held[name] for name in chosen]).all(0).sum()), *chosen)
            for chosen in combinations(alike, size)
        )[:5]
        for size in (1, 2, 3)
    }
    after = base
    for attack in suite_named("standard").members[len(FIRST) : -1]:
        after, _ = bench.left(attack, after)
    squares = {
        str(count): int(after.sum() - bench.left(Square(queries=count, proposals=8), after)[0].sum())
        for count in queries
    }
    return {
        "run": run.name,
        "eps": eps,
        "images": images,
        "clean": int(bench.right.sum()),
        "after_pgd": int(base.sum()),
        "candidates": rows,
        "best_sets": sets,
        "left_by_all": int(torch.stack(list(held.values())).all(0).sum()),
        "left_by_standard": int(after.sum()),
        "square_finds_more": squares,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--eps", type=float, nargs="+", required=True, help="one radius of Linf a run")
    parser.add_argument("--images", type=int, default=150, help="of the test part")
    parser.add_argument("--queries", type=int, nargs="+", default=[5000, 20000], help="of Square")
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after every network")
    options = parser.parse_args()
    if len(options.eps) != len(options.runs):
        parser.error(f"{len(options.runs)} runs need as many eps, not {len(options.eps)}")
    found = json.loads(options.out.read_text(encoding="utf-8"))["networks"] if options.out.exists() else []
    done = {(row["run"], row["eps"], row["images"]) for row in found}
    for run, eps in zip(options.runs, options.eps, strict=True):
        if (run.name, eps, options.images) in done:
            continue
        found.append(compared(run, eps, options.images, options.queries, Console()))
        record = {"networks": found, "environment": as_json(environment())}
        write_json(options.out, record)


if __name__ == "__main__":
    main()

"""How far is each network certified, beside what attacks left of it? `python -m benchmarks.certificates [--data NAME]`.

RSC-I beside RSC-II beside an ANN, each trained and certified under the same noise: the tables of docs/certificates.md.
Each network is attacked too, in L2. Run folders are under `--folder`; stopped, the command goes on where it was.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.records import write_json
from spikeproof.attacks import L2
from spikeproof.certificates import GaussianSmoothing, certify_run
from spikeproof.data import CIFAR10, DataSet, Digits, FashionMNIST
from spikeproof.evaluation import Protocol, evaluate_run, suite_named
from spikeproof.progress import bar
from spikeproof.runs import Run, environment
from spikeproof.runs.certificate_files import read_certificates
from spikeproof.runs.inscribed import inscribed
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.verdict_files import read_verdicts
from spikeproof.snn import RSC, Network, ReLU, SmallCNN
from spikeproof.training import SGD, Recipe, Selection, Training, train

DATA: dict[str, tuple[DataSet, int]] = {  # and epochs
    "digits": (Digits(), 20),
    "fashion_mnist": (FashionMNIST(train_images=1000, validation_images=500), 12),
    "cifar10_small": (CIFAR10(train_images=3000, validation_images=500), 8),
}
NETWORKS = {"RSC-I": "I", "RSC-II": "II", "ANN": "I"}
WIDTHS = (8, 16, 16)  # of a small CNN: 10^4 passes an image are many
RADII = (0.1, 0.25, 0.5, 1.0)  # of the table, in L2
ATTACKED = (0.25, 0.5)  # so far that attacks take seconds
DRAWS = 4  # passes of an attack's gradients and judgements


def recipe(name: str, data: str, sigma: float) -> Recipe:
    """One of the three networks, trained under its own noise."""
    chosen, epochs = DATA[data]
    spiking = {} if name != "ANN" else {"neuron": ReLU(), "steps": 1}
    network = Network(architecture=SmallCNN(widths=WIDTHS), encoder=RSC(sigma=sigma, variant=NETWORKS[name]), **spiking)
    training = Training(
        epochs=epochs,
        batch=64,
        optimiser=SGD(learning_rate=0.05),
        selection=Selection(threat=L2(0.25), images=100),
    )
    return Recipe(name=f"{name} {sigma:g}", data=chosen, network=network, training=training)


def trained(name: str, data: str, sigma: float, folder: Path) -> Run:
    made = recipe(name, data, sigma)
    with bar(made.name) as progress:
        train(made, folder / made.name, progress=progress)
    return Run(folder / made.name)


def copy_of(run: Run, folder: Path) -> Run:
    """A run folder holds one certification."""
    copy = folder / run.name
    if not copy.exists():
        unfinished = copy.with_name(f".{copy.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(run.path, unfinished)
        unfinished.rename(copy)
    return Run(copy)


def certified(run: Run, certificate: GaussianSmoothing, images: int) -> dict[str, Any]:
    """What was certified of a run, at the radii of the table."""
    with bar(f"{run.name}, n = {certificate.n:,}") as progress:
        certify_run(run, certificate, images=images, progress=progress)
    record, arrays = read_certificates(run)
    right = (arrays["prediction"] == arrays["label"]) & (arrays["radius"] > 0)
    radius = np.where(right, arrays["radius"], 0.0)
    kept = ("images", "abstained", "mean_radius", "largest_radius", "passes", "seconds", "pixels")
    return {name: getattr(record, name) for name in kept} | {
        "certificate": record.certificate.label,
        "accuracy": record.accuracy.value,
        "certified": {f"{eps:g}": float((right & (radius >= eps)).mean()) for eps in RADII},
        "median_radius": float(np.median(radius)),
        "median_radius_linf": float(np.median(radius)) * inscribed("L2", "Linf", record.pixels),
        "network": record.network_sha256,
    }


def attacked(run: Run, images: int) -> dict[str, Any]:
    """What attacks left of the same network, on the same images, judged by the vote of `DRAWS` passes."""
    suite = replace(suite_named("quick"), judged_by="vote")
    with bar(f"{run.name}, attacked") as progress:
        protocol = Protocol(threats=tuple(map(L2, ATTACKED)), suite=suite, images=images, draws=DRAWS)
        folder = evaluate_run(run, protocol, progress=progress)
    record, arrays = read_verdicts(folder)
    return {
        "status": record.status,
        "clean": record.clean_accuracy.value,
        "unbroken": {f"{eps:g}": float((arrays["broken_at"] > at).mean()) for at, eps in enumerate(ATTACKED)},
        "qte": record.qte,
        "draws": record.draws,
        "seconds": record.seconds,
    }


def measured(data: str, sigmas: list[float], ns: list[int], images: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each network, sigma and n."""
    rows = []
    for sigma in sigmas:
        for name, variant in NETWORKS.items():
            run = trained(name, data, sigma, folder / data)
            left = attacked(run, images)
            for n in ns:
                certificate = GaussianSmoothing(sigma=sigma, variant=variant, n=n)
                found = certified(copy_of(run, folder / f"{data}-n{n}"), certificate, images)
                rows.append({"network": name, "sigma": sigma, "n": n, "attacked": left} | {"certified": found})
                Console(width=200).print(line(rows[-1]), markup=False, highlight=False)
    return rows


def line(row: dict[str, Any]) -> str:
    """A row in Markdown, in %, radii in pixel units."""
    found, left = row["certified"], row["attacked"]
    doubt = "" if left["status"] == "ok" else "\\*"
    cells = [row["network"], f"{row['sigma']:g}", f"{row['n']:,}", f"{100 * found['accuracy']:.0f}"]
    cells += [f"{100 * found['abstained'] / found['images']:.0f}", f"{found['mean_radius']:.3f}"]
    cells += [f"{100 * found['certified'][f'{eps:g}']:.0f}" for eps in RADII]
    cells += [f"{100 * left['unbroken'][f'{eps:g}']:.0f}{doubt}" for eps in ATTACKED]
    cells += ["–" if left["qte"] is None else f"{left['qte']:.3f}"]
    return f"| {' | '.join(cells)} |"


def table(rows: list[dict[str, Any]]) -> str:
    heads = ["Network", "sigma", "n", "right", "abstained", "mean radius", *(f"certified {eps:g}" for eps in RADII)]
    heads += [*(f"unbroken {eps:g}" for eps in ATTACKED), "QTE"]
    return "\n".join([f"| {' | '.join(heads)} |", f"| --- |{' --: |' * (len(heads) - 1)}", *map(line, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=tuple(DATA), default="digits")
    parser.add_argument("--sigmas", default="0.12,0.25,0.5", help="separated by commas")
    parser.add_argument("--n", default="1000,10000", help="draws, separated by commas")
    parser.add_argument("--images", type=int, default=100, help="test images, from the first on")
    parser.add_argument("--folder", type=Path, default=Path("runs/certificates"), help="for the run folders")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    sigmas, ns = [float(s) for s in options.sigmas.split(",")], [int(n) for n in options.n.split(",")]
    found = measured(options.data, sigmas, ns, options.images, options.folder)
    Console(width=200).print(table(found), markup=False, highlight=False)
    if options.out:
        record = {"data": options.data, "images": options.images, "rows": found, "environment": as_json(environment())}
        write_json(options.out, record)


if __name__ == "__main__":
    main()

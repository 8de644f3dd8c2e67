"""How many recordings of N-MNIST are certified against edits of events, and how many do attacks leave?

`python -m benchmarks.event_certificates [--images 100] [--n 1000] [--out docs/event_certificates.json]`. Each network
is trained under the noise that it is certified under, on the part of N-MNIST that is there. The smoothed network is
then attacked on the same recordings, under `EventEdits` and, where frames are binary, under `Retiming`. Weights are
kept under `--folder`.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

from benchmarks.records import write_json
from spikeproof.attacks import SCG, EventEdits, Retiming, SteepestRetiming, Threat, UniformNoise
from spikeproof.certificates import Certificates, DeletionSmoothing, FlipSmoothing, Smoothed, certify
from spikeproof.certificates.edit_smoothing import EditSmoothing
from spikeproof.data import EventDeletion, EventFolder, FrameFlips, Framing, augment
from spikeproof.data.augmentations import Augmentation
from spikeproof.evaluation import Protocol, Suite, evaluate
from spikeproof.progress import bar
from spikeproof.runs import environment, written_whole
from spikeproof.runs.intervals import Interval
from spikeproof.runs.json_forms import as_json
from spikeproof.snn import Frames, Network, SmallCNN, SpikingNetwork

SIZES = (1, 2, 5, 10, 20)
KINDS: dict[str, dict[str, int]] = {
    "inserted": {"remove": 0, "move": 0},
    "deleted": {"add": 0, "move": 0},
    "moved": {"add": 0, "remove": 0},
}
BATCH = 50
DRAWS = 4  # passes of an attack's gradients


class Measured(NamedTuple):
    """A noise, in training and in the certificate."""

    augmentation: Augmentation
    certificate: EditSmoothing
    values: str


def noises(n: int) -> dict[str, Measured]:
    settings = {"n": n}
    found = {
        f"deletion {p:g}": Measured(EventDeletion(probability=p), DeletionSmoothing(probability=p, **settings), "count")
        for p in (0.9, 0.95, 0.98)
    }
    for appear, vanish in ((0.01, 0.6), (0.01, 0.8)):
        own = {"appear": appear, "vanish": vanish}
        found[f"flips {appear:g}, {vanish:g}"] = Measured(FrameFlips(**own), FlipSmoothing(**own, **settings), "binary")
    return found


def data_of(noise: Measured) -> EventFolder:
    framing = Framing(steps=6, span=52_000, since="zero", pool=2, values=noise.values)  # type: ignore[arg-type]
    return EventFolder(framing=framing, augmentation=(noise.augmentation,))


def trained(data: EventFolder, epochs: int, file: Path) -> SpikingNetwork:
    """A small network after its last epoch: one that is good without the noise is not what is wanted."""
    torch.manual_seed(0)
    network = Network(architecture=SmallCNN(widths=(8, 16, 32)), encoder=Frames()).build(data.shape, len(data.classes))
    if not file.exists():
        images, draw = data.part("train"), torch.Generator().manual_seed(0)
        batches = epochs * (len(images) // BATCH)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, batches)
        for _ in range(epochs):
            for rows in torch.randperm(len(images), generator=draw).split(BATCH)[: len(images) // BATCH]:
                x, y = images.batch(rows)
                optimiser.zero_grad()
                cross_entropy(network(augment(x, data.augmentation, draw)), y).backward()
                optimiser.step()
                schedule.step()
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as path:
            torch.save(network.state_dict(), path)
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval()


def certified(found: Certificates) -> dict[str, dict[str, float]]:
    """The share of recordings that are right and certified, by kind of edit and their number."""
    certificate = found.certificate
    assert isinstance(certificate, EditSmoothing)
    return {
        kind: {str(eps): float(certificate.holds(found, EventEdits(eps, **caps)).mean()) for eps in SIZES}
        for kind, caps in KINDS.items()
    }


def attacked(model: torch.nn.Module, x: Any, y: Any, threats: list[Threat], steps: int) -> dict[str, Any]:
    """What one attack, and noise as the control, leave of the smoothed network on the same recordings."""
    steepest = SteepestRetiming(steps=steps) if isinstance(threats[0], Retiming) else SCG(steps=steps)
    suite = Suite(name="brief", attacks=(UniformNoise(draws=1), steepest), judged_by="vote")
    with bar("attacks") as progress:
        found = evaluate(model, (x, y), Protocol(threats=tuple(threats), suite=suite, draws=DRAWS), progress=progress)
    return {
        "clean": share(found.clean_accuracy()),
        "unbroken": {str(threat.eps): share(found.robust_accuracy(at)) for at, threat in enumerate(threats)},
        "status": found.diagnosis.status,
    }


def share(found: Interval | None) -> float | None:
    """What was measured; None where nothing could be."""
    return None if found is None else found.value


def measured(name: str, noise: Measured, options: argparse.Namespace) -> dict[str, Any]:
    data = data_of(noise)
    model = trained(data, options.epochs, options.folder / f"{name.replace(', ', '-').replace(' ', '-')}.pt")
    images = data.part("test").first(options.images)
    x, y = images.batch(range(len(images)))
    with bar(f"{name}, certified") as progress:
        found = certify(model, (x, y), noise.certificate, progress=progress)
    row = {
        "noise": name,
        "certificate": repr(noise.certificate),
        "accuracy": found.accuracy().value,
        "abstained": int(found.abstained().sum()),
        "mean_radius": found.mean_radius(),
        "largest_radius": float(found.radius.max()),
        "certified": certified(found),
    }
    smoothed = Smoothed(model, noise.certificate)
    some_x, some_y = x[: options.attacked], y[: options.attacked]
    most = 1 if noise.values == "binary" else None
    edits: list[Threat] = [EventEdits(eps, most=most) for eps in SIZES]
    row["edits"] = attacked(smoothed, some_x, some_y, edits, options.steps)
    if most:
        moves: list[Threat] = [Retiming(eps, by="moved") for eps in SIZES]
        row["retiming"] = attacked(smoothed, some_x, some_y, moves, options.steps)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """In Markdown, in %: certified, and what attacks left."""
    lines = ["| Noise | right | what | " + " | ".join(map(str, SIZES)) + " |", "| --- | --: | --- |" + " --: |" * 5]
    for row in rows:
        shown = {f"certified, {kind}": shares for kind, shares in row["certified"].items()}
        shown |= {f"unbroken, {kind}": row[kind]["unbroken"] for kind in ("edits", "retiming") if kind in row}
        for what, shares in shown.items():
            found = [shares[str(eps)] for eps in SIZES]
            cells = " | ".join("–" if one is None else f"{100 * one:.0f}" for one in found)
            lines.append(f"| {row['noise']} | {100 * row['accuracy']:.0f} | {what} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", action="append", help="one of the noises alone; may be repeated")
    parser.add_argument("--images", type=int, default=100, help="test recordings, from the first on")
    parser.add_argument("--attacked", type=int, default=50, help="of these, how many are attacked")
    parser.add_argument("--n", type=int, default=1000, help="draws")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="of the attacks")
    parser.add_argument("--folder", type=Path, default=Path("runs/event_certificates"), help="for the weights")
    parser.add_argument("--out", type=Path, help="JSON file; rows of other noises stay")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    if options.out and options.out.exists():
        rows = {row["noise"]: row for row in json.loads(options.out.read_text(encoding="utf-8"))["rows"]}
    for name in options.noise or noises(options.n):
        rows[name] = measured(name, noises(options.n)[name], options)
        Console(width=200).print(table([rows[name]]), markup=False, highlight=False)
        if options.out:
            kept = {key: value for key, value in vars(options).items() if key not in ("noise", "folder", "out")}
            record = kept | {"rows": list(rows.values()), "environment": as_json(environment())}
            write_json(options.out, record)


if __name__ == "__main__":
    main()

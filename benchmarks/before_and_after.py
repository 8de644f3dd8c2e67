"""Do two versions of spikeproof find the same, in the same time? `python -m benchmarks.before_and_after OTHER_FOLDER`.

OTHER_FOLDER is a checkout of another commit. Each version runs in a process of its own, with one thread, on the same
network (the tests' digits network) and the same images. Attacks: how many images are broken, with several seeds.
`--suite`: processor seconds of a whole evaluation, one version after the other, as ratios. `--training`: those of a
training run, and whether both end with the same weights.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.records import write_json
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json

OURS = Path(__file__).parents[1]
WEIGHTS = OURS / "tests" / "weights" / "digits_snn.safetensors"
START = """
import json, sys, time, torch
import spikeproof as sp
from safetensors.torch import load_file
torch.set_num_threads(1)
weights, images, seeds, eps = sys.argv[1], int(sys.argv[2]), range(int(sys.argv[3])), float(sys.argv[4])
"""
NETWORK = """
network = sp.Network(architecture=sp.SmallCNN(widths=(8, 16, 16)), neuron=sp.LIF(), steps=4)
model = network.build((1, 8, 8), 10, mean=sp.Digits.mean, std=sp.Digits.std, seed=0)
model.load_state_dict(load_file(weights))
model.eval()
x, y = sp.Digits().part("test").batch(range(images))
"""
ATTACKS = """
along = lambda attack: sp.Along(attack=attack, paths=(sp.ASSG(),))
targeted = sp.APGD(steps=20, loss=sp.TargetedDLR())
attacks = {
    "PGD-20 (margin)": sp.PGD(steps=20, loss=sp.Margin()),
    "PGD-10, 3 starts": sp.PGD(restarts=3),
    "MI-FGSM-10": sp.PGD(momentum=1.0, start="clean"),
    "APGD-CE-50": sp.APGD(steps=50),
    "APGD-DLR-50": sp.APGD(steps=50, loss=sp.DLR()),
    "APGD-T-20, 4 classes": sp.Targeted(attack=targeted, classes=4),
    "FAB-T-20, 4 classes": sp.FAB(steps=20, classes=4),
    "DeepFool-20": sp.DeepFool(steps=20, classes=4),
    "C&W-60": sp.CarliniWagner(steps=60, searches=4, learning_rate=0.05),
    "Square-500": sp.Square(queries=500),
    "SA-PGD-50 (margin, ASSG)": along(sp.SAPGD(steps=50, loss=sp.Margin())),
    "APGD-CE-50 (ASSG)": along(sp.APGD(steps=50)),
    "uniform noise-20": sp.UniformNoise(draws=20),
}
with torch.no_grad():
    right = model(x).argmax(1) == y
x, y, seen, threat, found = x[right], y[right], sp.attack_view(model), sp.Linf(eps), {}
for name, attack in attacks.items():
    found[name] = {"broken": [], "gradients": [], "forwards": []}
    for seed in seeds:
        outcome = attack.run(seen, x, y, threat, seed=seed, stop=True)
        with torch.no_grad():
            wrong = model(threat.project(outcome.x, x)).argmax(1) != y
        found[name]["broken"].append(100 * wrong.float().mean().item())
        for cost in ("gradients", "forwards"):
            found[name][cost].append(getattr(outcome, cost).float().mean().item())
print(json.dumps(found))
"""
SUITE = """
suite, threats, found = sp.suite_named(sys.argv[5]), (sp.Linf(eps), sp.Linf(2 * eps)), []
for seed in seeds:
    began = time.process_time()
    if hasattr(sp, "Protocol"):
        verdicts = sp.evaluate(model, (x, y), sp.Protocol(threats=threats, suite=suite, seed=seed))
    else:  # as it was called up to 3b70960
        verdicts = sp.evaluate(model, (x, y), threats, suite, seed=seed)
    robust = [100 * verdicts.robust_accuracy(k).value for k in range(2)]
    found.append({"seconds": time.process_time() - began, "robust": robust})
print(json.dumps(found))
"""
TRAINING = """
import hashlib, tempfile
selection = sp.Selection(images=8, attack=sp.PGD(steps=1))
recipes = {
    "digits": dict(
        data=sp.Digits(train_images=images, augmentation=(sp.RandomCrop(padding=1),)),
        training=sp.Training(epochs=2, batch=64, selection=selection),
    ),
    "cifar10": dict(
        data=sp.CIFAR10(train_images=images),
        network=sp.Network(architecture=sp.SmallCNN(widths=(16, 32, 64)), steps=4),
        objective=sp.Adversarial(attack=sp.PGD(steps=2, keep="last")),
        training=sp.Training(epochs=1, batch=64, selection=selection),
    ),
}
found = []
for seed in (seeds[0], *seeds):  # the first one compiles the kernels
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        model = sp.train(sp.Recipe(name="a", seed=seed, **recipes[sys.argv[5]]), folder)
        seconds = time.process_time() - began
    weights = hashlib.sha256()
    for tensor in model.state_dict().values():
        weights.update(tensor.contiguous().numpy().tobytes())
    found.append({"seconds": seconds, "weights": weights.hexdigest()})
print(json.dumps(found[1:]))
"""


def measured(folder: Path, code: str, *arguments: Any) -> Any:
    """What the version in `folder` prints."""
    command = [sys.executable, "-c", START + code, str(WEIGHTS), *map(str, arguments)]
    around = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def commit(folder: Path) -> str:
    """The commit of the version in `folder`."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout of another commit")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--suite", help="time this suite instead of comparing attacks, `--seeds` times")
    parser.add_argument("--training", choices=["digits", "cifar10"], help="time training, `--seeds` times")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    other = options.other.resolve()
    chosen = {"images": options.images, "seeds": options.seeds, "eps": options.eps, "suite": options.suite}
    around = {name: value for name, value in as_json(environment()).items() if name != "command"}  # it names folders
    record = {"before": commit(other), "after": commit(OURS), **chosen, "environment": around}
    record["found"] = (
        trainings(other, options)
        if options.training
        else suites(other, options)
        if options.suite
        else attacks(other, options)
    )
    if options.out:
        write_json(options.out, record)


def attacks(other: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Broken images in %, of those that are right: mean and deviation over the seeds."""
    settings = options.images, options.seeds, options.eps
    before, after = (measured(folder, NETWORK + ATTACKS, *settings) for folder in (other, OURS))
    print("| attack | before | after |\n| --- | --: | --: |")
    for name in before:
        told = [
            f"{statistics.mean(v):.1f} ± {statistics.stdev(v):.1f}"
            for v in (before[name]["broken"], after[name]["broken"])
        ]
        print(f"| {name} | {' | '.join(told)} |")
    return {"before": before, "after": after}


def suites(other: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds and robust accuracies of a suite; the versions take turns."""
    found: dict[str, list[Any]] = {"before": [], "after": []}
    for _ in range(options.seeds):
        for version, folder in (("before", other), ("after", OURS)):
            found[version] += measured(folder, NETWORK + SUITE, options.images, 1, options.eps, options.suite)
    ratios = [a["seconds"] / b["seconds"] for b, a in zip(found["before"], found["after"], strict=True)]
    print(f"{options.suite}: after / before {statistics.median(ratios):.2f} of the processor seconds", found)
    return found


def trainings(other: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of a training run and a digest of its weights; the versions take turns."""
    found: dict[str, list[Any]] = {"before": [], "after": []}
    for _ in range(options.seeds):
        for version, folder in (("before", other), ("after", OURS)):
            found[version] += measured(folder, TRAINING, options.images, 1, options.eps, options.training)
    pairs = list(zip(found["before"], found["after"], strict=True))
    ratios = [a["seconds"] / b["seconds"] for b, a in pairs]
    same = "the same" if all(a["weights"] == b["weights"] for b, a in pairs) else "other"
    told = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    print(f"{options.training}: after / before {told} of the processor seconds; {same} weights")
    return found


if __name__ == "__main__":
    main()

"""What does each objective cost, beside a plain training step? `python -m benchmarks.objective_costs`.

One process, alternating, one thread, medians of rounds: seconds of a whole training step (attack, forwards, backward,
optimiser) over those of cross-entropy alone on the same network and images, and memory kept between forward and
backward.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Spread, alternate, peak_bytes, saved_bytes
from benchmarks.records import write_json
from benchmarks.workloads import CPU, CUDA, QUICK, Problem, Setting
from spikeproof.attacks import PGD, RFGSM, KullbackLeibler
from spikeproof.objectives import (
    MART,
    RAT,
    TRADES,
    Adversarial,
    Distillation,
    GaussianNoise,
    Objective,
    SparseGradient,
    StablePotential,
    Standard,
)
from spikeproof.process import keep_freed_memory
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json
from spikeproof.snn import Network, ReLU, SmallCNN

PLAIN = "plain"
SR_GOAL = 2.4  # times a plain step, for SR by finite difference


def objectives(steps: int) -> dict[str, Objective]:
    """What is timed; `steps` are those of every attack that has several."""
    pgd = PGD(steps=steps, keep="last")
    near = PGD(steps=steps, loss=KullbackLeibler(), start="near", keep="last")
    return {
        PLAIN: Standard(),
        "Gaussian noise": GaussianNoise(),
        "SR, finite difference": SparseGradient(),
        "SR, double backward": SparseGradient(estimate="double_backward"),
        "stable potentials, Gaussian": StablePotential(attack=None),
        "stable potentials, one step": StablePotential(),
        "E-RSCT": Distillation(),
        "robust fine-tuning": TRADES(beta=2.0, attack=RFGSM(loss=KullbackLeibler())),
        f"adversarial, PGD-{steps}": Adversarial(attack=pgd),
        f"RAT, PGD-{steps}": RAT(objective=Adversarial(attack=pgd)),
        f"SR*, PGD-{steps}": SparseGradient(attack=pgd),
        f"TRADES, PGD-{steps}": TRADES(attack=near),
        f"MART, PGD-{steps}": MART(attack=PGD(steps=steps, start="near", keep="last")),
    }


def step_of(objective: Objective, problem: Problem, at: Setting) -> Callable[[], None]:
    """One training step, to be called again and again."""
    model = problem.model(at).train()
    ann = Network(architecture=problem.architecture, neuron=ReLU(), steps=1).build(model.shape, model.classes)
    terms = objective.prepared(ann.to(at.device, at.dtype))
    x, y = problem.images(at), problem.labels(at)
    weights = list(model.parameters())
    optimiser = torch.optim.SGD(weights, lr=1e-3, momentum=0.9)

    def call() -> None:
        optimiser.zero_grad()
        torch.stack(list(terms(model, x, y).values())).sum().backward(inputs=weights)
        optimiser.step()
        objective.after_step(model)

    return call


def measured(problem: Problem, at: Setting, rounds: int, steps: int) -> dict[str, Any]:
    """By objective: how many times a plain step it takes, its seconds, and the bytes that it keeps."""
    torch.manual_seed(0)
    calls = {name: step_of(objective, problem, at) for name, objective in objectives(steps).items()}
    for call in calls.values():
        call()
        call()  # kernels of shapes that only a second step meets
    kept = {name: saved_bytes(call) for name, call in calls.items()}
    peak = {name: peak_bytes(call, at.device) for name, call in calls.items()}
    times = alternate(calls, rounds, at.device)
    return {
        "had_core": times.had_core,
        "objectives": {
            name: {
                "times_plain": asdict(times.ratio(name, PLAIN)),
                "seconds": asdict(Spread.of(times.seconds[name])),
                "saved_bytes": kept[name],
                "peak_bytes": peak[name],
            }
            for name in calls
        },
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.objective_costs", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: is everything in order?")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--vgg", action="store_true", help="VGG-11 in place of the small CNN")
    parser.add_argument("--steps", type=int, default=5, help="of the attacks inside objectives")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("build", "objective_costs.json"))
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else CUDA if options.device == "cuda" else CPU
    settings = {"keeps_freed_memory": keep_freed_memory(), "threads": 1, "attack_steps": options.steps}
    torch.set_num_threads(1)
    if options.vgg:
        problem = Problem(sizes.vgg, sizes.steps, sizes.side, sizes.batch_vgg)
    else:
        w = sizes.narrow
        problem = Problem(SmallCNN(widths=(w, 2 * w, 4 * w)), sizes.steps, sizes.side, sizes.batch_narrow)
    at = Setting(torch.device(options.device))
    found = measured(problem, at, options.rounds or sizes.rounds, options.steps)
    settings |= {"architecture": str(problem.architecture), "time_steps": problem.steps, "batch": problem.batch}
    show(found)
    where = as_json(environment()) | {"command": "python -m benchmarks.objective_costs"}
    write_json(options.out, {"environment": where, "settings": settings} | found)
    Console().print(f"written to {options.out}")


def show(found: dict[str, Any]) -> None:
    table = Table("objective", title="A training step's cost over that of a plain one: median (quartiles)")
    for heading in ("time", "MiB kept"):
        table.add_column(heading, justify="right")
    for name, record in found["objectives"].items():
        times = record["times_plain"]
        cell = f"{times['median']:.2f} ({times['low']:.2f}-{times['high']:.2f})"
        table.add_row(name, cell, f"{record['saved_bytes'] / 2**20:.0f}")
    Console().print(table)
    sr = found["objectives"]["SR, finite difference"]["times_plain"]["median"]
    Console().print(f"SR by finite difference: {sr:.2f} of at most {SR_GOAL}: {'met' if sr <= SR_GOAL else 'missed'}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

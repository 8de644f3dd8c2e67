"""Does any case break a certificate? `python -m benchmarks.soundness [--cases 1000000] [--out docs/soundness.json]`.

Each check draws cases at a small size, where the worst a classifier can do is known exactly, and counts those in which
a certificate says more than is true: there must be none. Tests run the same checks with fewer cases. `--runs RUN...`
attacks instead the images of certified run folders at 0.99 of their radii, and counts those that end in another class.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from scipy.special import ndtr
from scipy.stats import binom
from torch import Tensor, nn

from benchmarks.records import write_json
from spikeproof.attacks import APGD, PGD, Margin
from spikeproof.bounds import How, Range, margins, prepared
from spikeproof.certificates import Certificate, GaussianSmoothing, RateCodingL1, RateCodingLinf, Smoothed
from spikeproof.certificates.shared_thresholds import Enumeration
from spikeproof.certificates.voting import Voted, lower_bound
from spikeproof.configs import from_config
from spikeproof.data import DataSet
from spikeproof.evaluation.pools import part_of
from spikeproof.runs import Run, environment, find_runs
from spikeproof.runs.certificate_files import read_certificates
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.weights import load_model
from spikeproof.snn import (
    DLIF,
    IF,
    LIF,
    MLP,
    PLIF,
    QCFS,
    AdaptiveLIF,
    Direct,
    FirstSpike,
    GradedIF,
    LastPotential,
    Latency,
    MeanCurrent,
    Network,
    Neuron,
    ReLU,
    SynapticLIF,
    Thresholds,
    adapt,
)

STEPS, PIXELS, MARGINS, SIGMAS = (1, 2, 3, 4, 6), (1, 2, 3), (0.0, 0.05, 0.2), (0.12, 0.25, 0.5)
AT = 0.99  # of a radius, where it is attacked
STRONGEST = (APGD(steps=100, eot=16), APGD(steps=100, eot=16, loss=Margin()), PGD(steps=100, eot=16, restarts=2))
INSIDE = 0.9999  # of a radius: what is tight is tight there
NEURONS: tuple[Neuron, ...] = (IF(), IF(reset="soft", charge=0.5), LIF(), LIF(leak=0.9, reset="soft", charge=0.3))
NEURONS += (
    PLIF(),
    DLIF(),
    GradedIF(charge=0.5),
    IF(reset="soft", charge=0.5, two_phases=True),
    LIF(two_phases=True),
    SynapticLIF(),
    AdaptiveLIF(),
    AdaptiveLIF(reset="soft"),
    ReLU(),
    QCFS(),
)
GROUP, RADII = 200, 1000  # cases that share a radius: so many, or more where there would be more radii
TINY = 1e-9


class Checked(NamedTuple):
    """How many cases there were, and in how many a certificate said too much; `closest` is how little was missing."""

    cases: int
    violations: int
    closest: float


def worst_mass(p_masses: np.ndarray, q_masses: np.ndarray, p: float) -> np.ndarray:
    """The least mass ``[N]`` under q of a classifier of mass `p` under p; masses ``[N, M]``. By Neyman and Pearson."""
    order = (q_masses / p_masses.clip(1e-300)).argsort(1)
    under_p = np.take_along_axis(p_masses, order, 1)
    under_q = np.take_along_axis(q_masses, order, 1)
    before = under_p.cumsum(1) - under_p
    share = ((p - before) / under_p.clip(1e-300)).clip(0, 1)
    found: np.ndarray = (share * under_q).sum(1)
    return found


def masses(rates: np.ndarray, steps: int) -> np.ndarray:
    """The probability of every pattern of spike counts ``[N, (T+1)^D]`` of `rates` ``[N, D]``: counts say it all."""
    found = np.ones((len(rates), 1))
    for pixel in rates.T:
        counts = binom.pmf(np.arange(steps + 1), steps, pixel[:, None])
        found = (found[:, :, None] * counts[:, None, :]).reshape(len(rates), -1)
    return found


def moved_l1(draw: np.random.Generator, x: np.ndarray, length: float, copies: int) -> np.ndarray:
    """Images in the box at L1 distance `length` at most, most of them on its rim and along few pixels."""
    part = draw.dirichlet(np.full(len(x), 0.3), copies) * draw.choice([-1, 1], (copies, len(x)))
    return (x + length * part).clip(0, 1)


def moved_linf(draw: np.random.Generator, x: np.ndarray, length: float, copies: int) -> np.ndarray:
    return (x + length * draw.choice([-1.0, 1.0, 0.3], (copies, len(x)))).clip(0, 1)


def rate_l1(cases: int, seed: int = 0, bound: str = "aware") -> Checked:
    """`RateCodingL1`: the worst classifier of spike counts, at images inside its radius."""
    certificates = {a: RateCodingL1(margin=a, bound=bound, unsound=bound == "published") for a in MARGINS}
    return _rate(cases, seed, certificates, moved_l1)


def rate_linf(cases: int, seed: int = 0) -> Checked:
    """`RateCodingLinf`, in the same way."""
    return _rate(cases, seed, {a: RateCodingLinf(margin=a) for a in MARGINS}, moved_linf)


def _rate(cases: int, seed: int, certificates: dict[float, Any], moved: Callable[..., np.ndarray]) -> Checked:
    draw, done, wrong, closest = np.random.default_rng(seed), 0, 0, math.inf
    group = max(GROUP, cases // RADII)
    while done < cases:
        steps, pixels, margin = (int(draw.choice(STEPS)), int(draw.choice(PIXELS)), float(draw.choice(MARGINS)))
        p = 0.5 + 0.5 * float(draw.beta(0.7, 0.7)) * 0.9999
        x = draw.choice([0.0, 1.0, draw.random()], pixels) if draw.random() < 0.3 else draw.random(pixels)
        certificate = certificates[margin]
        radius = certificate.radius(p, torch.from_numpy(x).view(1, 1, -1), steps)
        others = moved(draw, x, INSIDE * radius, group)
        rates = [certificate.code.rates(torch.from_numpy(each)).numpy() for each in (x[None].repeat(group, 0), others)]
        left = worst_mass(masses(rates[0], steps), masses(rates[1], steps), p) - 0.5
        done, wrong, closest = done + group, wrong + int((left < -TINY).sum()), min(closest, float(left.min()))
    return Checked(done, wrong, closest)


def trains(cases: int, seed: int = 0) -> Checked:
    """`RateCodingL1` again, over all 2^(T D) spike trains one by one, for classifiers that are drawn and the worst."""
    draw, done, wrong, closest = np.random.default_rng(seed), 0, 0, math.inf
    group = max(20, cases // RADII)
    while done < cases:
        steps, pixels = [(1, 3), (2, 3), (3, 3), (6, 1), (6, 2), (4, 3)][int(draw.integers(6))]
        x = draw.random(pixels)
        codes = np.array(list(product((0, 1), repeat=steps * pixels))).reshape(-1, steps, pixels).sum(1)  # [2^TD, D]
        at = np.prod(x**codes * (1 - x) ** (steps - codes), 1)
        chosen = np.cumsum(at[order := draw.permutation(len(at))]) <= draw.uniform(0.5, 1)
        if draw.random() < 0.5:  # a classifier of spike counts is worse than one drawn train by train
            order = (codes @ draw.normal(size=pixels)).argsort(kind="stable")
            chosen = np.cumsum(at[order]) <= draw.uniform(0.5, 1)
        p = float(at[order][chosen].sum())
        if p <= 0.5:
            continue
        radius = RateCodingL1().radius(p, torch.from_numpy(x).view(1, 1, -1), steps)
        others = moved_l1(draw, x, INSIDE * radius, group)[:, None]  # [N, 1, D]
        named = codes[order][chosen]
        left = np.prod(others**named * (1 - others) ** (steps - named), 2).sum(1) - 0.5
        done, wrong, closest = done + group, wrong + int((left < -TINY).sum()), min(closest, float(left.min()))
    return Checked(done, wrong, closest)


def gaussian(cases: int, seed: int = 0) -> Checked:
    """`GaussianSmoothing`: half-spaces, whose distance is known, with noise drawn once or at each of T steps.

    Half-spaces are the worst classifiers, so the radius is their distance: `closest` is 0 up to rounding.
    """
    draw, wrong, closest = np.random.default_rng(seed), 0, math.inf
    x, certificates = torch.zeros(1), [GaussianSmoothing(sigma=s, variant=v) for s in SIGMAS for v in ("I", "II")]
    for _ in range(cases):
        certificate, steps = certificates[int(draw.integers(len(certificates)))], int(draw.integers(1, 9))
        spread = certificate.sigma / math.sqrt(steps if certificate.variant == "II" else 1)  # of the mean of the draws
        distance = spread * float(draw.uniform(0.001, 5))
        radius = certificate.radius(float(ndtr(distance / spread)), x, steps)
        wrong, closest = wrong + int(radius > distance * (1 + TINY)), min(closest, abs(distance - radius))
    return Checked(cases, wrong, closest)


class Table(nn.Module):
    """A classifier of codes of `pixels` spikes: a class drawn for each of the 2^D."""

    def __init__(self, pixels: int, classes: int, draw: np.random.Generator) -> None:
        super().__init__()
        self.classes = torch.from_numpy(draw.integers(classes, size=2**pixels))
        self.logits = torch.eye(classes)

    def forward(self, spikes: Tensor) -> Tensor:  # [B, T, 1, 1, D]
        bits = spikes[:, 0].flatten(1).long()
        return self.logits[self.classes[(bits << torch.arange(bits.shape[1])).sum(1)]]


def shared_thresholds(cases: int, seed: int = 0, images: str = "any") -> Checked:
    """`SharedThresholds`: the majority over all codes of images inside the radius, whatever the classifier of codes."""
    draw, done, wrong, closest = np.random.default_rng(seed), 0, 0, math.inf
    group = max(20, cases // (10 * RADII))
    while done < cases:
        pixels, classes = int(draw.integers(1, 4)), int(draw.integers(2, 4))
        code = Thresholds(levels=int(draw.integers(255, 400)), seed=int(draw.integers(1000)))
        table = Table(pixels, classes, draw)
        prover = Enumeration(code, table, 1, images, 10_000)
        levels = draw.integers(0, 256, pixels) / 1.0
        x = levels if images == "8-bit" or draw.random() < 0.5 else draw.uniform(0, 255, pixels)
        found = prover(torch.from_numpy(x / 255).view(1, 1, -1), 0)
        others = np.array([_beyond(draw, x, found.radius * 255, images) for _ in range(group)])
        votes = votes_of(code, table, torch.from_numpy(others / 255).view(group, 1, 1, -1))
        lead = int((votes[:, found.prediction] - votes.amax(1)).min())
        done, closest = done + group, min(closest, lead)
        wrong += int((votes.argmax(1) != found.prediction).sum())  # of equals the first
    return Checked(done, wrong, closest)


def votes_of(code: Thresholds, table: Table, x: Tensor) -> Tensor:
    """How many codes of each image ``[N, 1, 1, D]`` are named each class ``[N, K]``: all images and codes at once."""
    k = torch.arange(code.levels).repeat(len(x))
    codes = code.codes(x.repeat_interleave(code.levels, 0), k)
    named: Tensor = table(codes.unsqueeze(1))
    return named.view(len(x), code.levels, -1).sum(1)


def _beyond(draw: np.random.Generator, x: np.ndarray, budget: float, images: str) -> np.ndarray:
    """An image in levels, `budget` of them away at most: each pixel just beyond a threshold while that lasts."""
    other = x.copy()
    for pixel in draw.permutation(len(x)):
        up = draw.random() < 0.5
        if images == "8-bit":
            wanted = float(draw.integers(0, int(budget) + 1))
        else:
            first = (
                (math.floor(x[pixel] + 0.5) + 0.5 - x[pixel]) if up else x[pixel] - (math.ceil(x[pixel] - 0.5) - 0.5)
            )
            wanted = first + float(draw.integers(0, max(1, int(budget)))) + 1e-3
        step = min(wanted, budget, 255 - x[pixel] if up else x[pixel])
        other[pixel] += step if up else -step
        budget -= step
    return other


def intervals(cases: int, seed: int = 0) -> Checked:
    """`IntervalBounds`: margins of small networks of all neurons at images of a box, corners among them."""
    draw, done, wrong, closest = np.random.default_rng(seed), 0, 0, math.inf
    group = max(GROUP, cases // RADII)
    while done < cases:
        network, pixels = _small_network(draw), int(draw.integers(1, 5))
        model = network.build((1, 1, pixels), 3, seed=int(draw.integers(2**31))).eval()
        with torch.no_grad():
            for weights in model.parameters():
                spread = torch.from_numpy(draw.normal(size=weights.shape)).float()
                weights.copy_(weights * 2 if weights.ndim > 1 else weights + 0.2 * spread if weights.ndim else weights)
        x, y = torch.from_numpy(draw.random((1, 1, 1, pixels))).float(), int(draw.integers(3))
        eps = float(draw.choice([0.005, 0.02, 0.1, 0.3]))
        low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
        part = torch.from_numpy(draw.random((group, 1, 1, pixels))).float()
        part[::2] = part[::2].round()
        images = torch.minimum(torch.maximum(low + part * (high - low), low), high)
        with torch.no_grad():
            z = model(images).double()
            around = Range(low.double(), high.double())
            least = margins(prepared(model), around, torch.tensor([y]), How(trains=bool(draw.integers(4))))[0]
        others = [other for other in range(3) if other != y]
        left = (z[:, y : y + 1] - z - least)[:, others].amin(1)
        done, wrong, closest = done + group, wrong + int((left < -TINY).sum()), min(closest, float(left.min()))
    return Checked(done, wrong, closest)


def _small_network(draw: np.random.Generator) -> Network:
    neuron = NEURONS[int(draw.integers(len(NEURONS)))]
    direct = getattr(neuron, "two_phases", False)  # which do not see the order that a latency code tells by
    return Network(
        architecture=MLP(hidden=(6, 5), norm=bool(draw.integers(2))),
        neuron=neuron,
        encoder=(Direct(), Direct() if direct else Latency())[int(draw.integers(2))],
        readout=(MeanCurrent(), LastPotential(), FirstSpike())[int(draw.integers(3))],
        steps=1 if isinstance(neuron, ReLU | QCFS) else int(draw.integers(1, 7)),
    )


def coverage(cases: int, seed: int = 0) -> Checked:
    """Clopper and Pearson's bound: how often it is above the truth, exactly and in `cases` samples; alpha at most.

    `cases` counts samples; `closest` is the least alpha minus what was found, exactly, over all n and probabilities.
    """
    draw, wrong, closest, each = np.random.default_rng(seed), 0, math.inf, max(1, cases // 90)
    for n, alpha, p in product((10, 100, 1000), (0.001, 0.01, 0.1), (*np.linspace(0.05, 0.95, 9), 0.999)):
        bounds = np.array([lower_bound(votes, n, alpha) for votes in range(n + 1)])
        exact = float(binom.pmf(np.arange(n + 1), n, p)[bounds > p].sum())
        sampled = float((bounds[draw.binomial(n, p, each)] > p).mean())
        wrong += int(exact > alpha + TINY) + int(sampled > alpha + 6 * math.sqrt(alpha / each) + 6 / each)
        closest = min(closest, alpha - exact)
    return Checked(90 * each, wrong, closest)


def attacked(run: Run, images: int) -> Checked:
    """The first certified `images` of a run folder under our strongest attacks, inside their radii.

    A violation is an attacked image that the same certificate finds to be of another class, or that a network without
    noise names otherwise.
    """
    record, arrays = read_certificates(run)
    certificate: Certificate = from_config(record.certificate.config, Certificate)
    model = adapt(load_model(run.path))
    pool = part_of(from_config(run.record.config["data"], DataSet), record.part, record.images)  # type: ignore[arg-type]
    network = Smoothed(model, certificate).eval() if isinstance(certificate, Voted) else model
    prover, wrong, closest = certificate.prover(model, seed=1), 0, math.inf
    chosen = np.flatnonzero(arrays["radius"] > 0)[:images]
    for number in chosen:
        x, _ = pool.batch([int(number)])
        named = torch.tensor([int(arrays["prediction"][number])])
        threat = certificate.threat(eps=AT * float(arrays["radius"][number]))  # type: ignore[call-arg]
        for attack in STRONGEST if certificate.votes else (replace(attack, eot=1) for attack in STRONGEST):
            found = prover(attack(network, x, named, threat)[0], int(number))
            share = found.votes / found.draws if found.draws else 1.0
            kept = found.prediction == int(named)
            wrong += int(not kept and (found.radius > 0 or not certificate.votes))
            closest = min(closest, share - 0.5 if kept else 0.5 - share)
    return Checked(len(chosen) * len(STRONGEST), wrong, closest)


CHECKS: dict[str, Callable[[int], Checked]] = {
    "Clopper-Pearson": coverage,
    "GaussianSmoothing": gaussian,
    "RateCodingL1(bound=aware)": rate_l1,
    "RateCodingL1(bound=universal)": lambda cases: rate_l1(cases, bound="universal"),
    "RateCodingL1, every train": trains,
    "RateCodingLinf": rate_linf,
    "IntervalBounds": intervals,
    "SharedThresholds(images=any)": shared_thresholds,
    "SharedThresholds(images=8-bit)": lambda cases: shared_thresholds(cases, images="8-bit"),
}


def options_of(doc: str | None, checks: Iterable[str]) -> argparse.ArgumentParser:
    """What every command of such checks can be told."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000, help="of each check")
    parser.add_argument("--check", action="append", choices=tuple(checks), help="this one alone; may be repeated")
    parser.add_argument("--out", type=Path, help="JSON file; what is there of other checks stays")
    return parser


def check_all(checks: Mapping[str, Callable[[int], Checked]], cases: int, out: Path | None) -> None:
    """Runs the checks, says what each found, and writes it down after each."""
    torch.set_num_threads(1)
    kept: dict[str, Any] = {}
    if out and out.exists():
        kept = json.loads(out.read_text(encoding="utf-8"))["checks"]
    for name, check in checks.items():
        started = time.process_time()
        found = check(cases)
        kept[name] = found._asdict() | {"processor_seconds": round(time.process_time() - started, 1)}
        Console(width=120).print(f"{name}: {kept[name]}", markup=False, highlight=False)
        if out:
            record = {"checks": kept, "environment": as_json(environment())}
            write_json(out, record)


def main() -> None:
    parser = options_of(__doc__, CHECKS)
    parser.add_argument("--runs", type=Path, nargs="+", help="certified run folders, to be attacked")
    parser.add_argument("--images", type=int, default=100, help="of each run")
    options = parser.parse_args()
    chosen = {name: CHECKS[name] for name in options.check or CHECKS}
    if options.runs:
        runs = {run.name: run for run in find_runs(options.runs)}
        chosen = {f"attacked: {name}": lambda _, run=run: attacked(run, options.images) for name, run in runs.items()}
    check_all(chosen, options.cases, options.out)


if __name__ == "__main__":
    main()

"""How is a trained run evaluated, and where does the result go? Into its own folder, once."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from spikeproof.attacks import Threat
from spikeproof.data import PartName
from spikeproof.evaluation.examples import examples, strongest
from spikeproof.evaluation.ledger import STATE, fingerprint
from spikeproof.evaluation.opened_runs import opened
from spikeproof.evaluation.predictions import taken
from spikeproof.evaluation.robustness import evaluate
from spikeproof.evaluation.suites import Suite
from spikeproof.progress import Report, silent
from spikeproof.runs import Run, environment
from spikeproof.specs import to_config

__all__ = ["evaluate_run"]

SHOWN = 6  # example images in a report


def evaluate_run(
    run: Run,
    threats: Sequence[Threat],
    suite: Suite,
    *,
    images: int | None = None,
    part: PartName = "test",
    batch: int = 256,
    draws: int | None = None,
    seed: int = 0,
    data_root: str | Path | None = None,
    device: str | None = None,
    trust: bool = False,
    progress: Report = silent,
) -> None:
    """Writes ``verdicts.json``, ``verdicts.npz`` and ``examples.npz`` for the first `images` of the run's data.

    Does nothing if they are there for the same weights, images and protocol; goes on where it was stopped. Raises
    `UserError` for a run whose training has not finished, and for what `evaluate` refuses.
    """
    model, chosen, data = opened(
        run, "evaluate", images=images, part=part, batch=batch, data_root=data_root, device=device, trust=trust
    )
    print_ = fingerprint(model, chosen, threats, suite, batch, draws, seed)
    if _is_there(run, print_):
        return
    started = time.monotonic()
    found = evaluate(model, chosen, threats, suite, batch=batch, draws=draws, seed=seed, state=run, progress=progress)
    for file in ("verdicts.json", "examples.npz"):  # the summary comes last: while it is missing, nothing counts
        (run.path / file).unlink(missing_ok=True)
    run.write_arrays("verdicts.npz", found.arrays())
    right = (found.clean_prediction == found.label).nonzero()[0][:SHOWN]
    if found.diagnosis.status == "ok" and len(right):
        x, y = taken(model, chosen, torch.from_numpy(right))
        shown = examples(
            model, x, y, found.threats[-1], strongest(suite.attacks).averaging(found.draws), chosen.classes
        )
        run.write_arrays("examples.npz", shown)
    facts = {"data": to_config(data), "resplit": data.resplit, "part": part, "seed": seed, "fingerprint": print_}
    facts |= {"seconds": time.monotonic() - started, "environment": environment()}
    run.write_json("verdicts.json", found.summary() | facts)
    (run.path / STATE).unlink(missing_ok=True)


def _is_there(run: Run, fingerprint: str) -> bool:
    if not all(file in run for file in ("verdicts.json", "verdicts.npz")):
        return False
    kept = run.read_json("verdicts.json")
    same = isinstance(kept, dict) and kept.get("fingerprint") == fingerprint
    return same and (kept["status"] != "ok" or "examples.npz" in run)

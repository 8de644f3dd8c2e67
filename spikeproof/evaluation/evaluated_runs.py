"""How is a trained run evaluated, and where does the result go? Into its own folder, once."""

import time
from contextlib import nullcontext
from pathlib import Path

import torch

from spikeproof.configs import to_config
from spikeproof.distributed import ALONE, Ranks
from spikeproof.evaluation.examples import examples, strongest
from spikeproof.evaluation.fresh import Fresh
from spikeproof.evaluation.ledger import STATES, Kept, fingerprint_of_verdicts
from spikeproof.evaluation.opened_runs import opened
from spikeproof.evaluation.predictions import taken
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.robustness import evaluate_pool, usable
from spikeproof.progress import Report, silent
from spikeproof.runs import Run, environment
from spikeproof.runs.digests import digest_of_arrays
from spikeproof.runs.locks import locked
from spikeproof.runs.records import VerdictsRecord
from spikeproof.runs.ties import WEIGHTS
from spikeproof.runs.verdict_files import ARRAYS, read_verdicts

__all__ = ["evaluate_run"]

SHOWN = 6  # example images in a report


def evaluate_run(
    run: Run,
    protocol: Protocol,
    *,
    batch: int | None = None,
    data_root: str | Path | None = None,
    device: str | torch.device | None = None,
    trust: bool = False,
    ranks: Ranks = ALONE,
    progress: Report = silent,
) -> None:
    """Writes ``verdicts.json``, ``verdicts.npz`` and ``examples.npz`` for the protocol's images of the run's data.

    Does nothing if they are there for the same weights, images and protocol; goes on where it was stopped, with any
    number of `ranks`. The images are dealt to them, and rank 0 writes; the run folder lies where all see it. Raises
    `UserError` for a run whose training has not finished, for one that another process writes into, and for what
    `evaluate` refuses.
    """
    batch = usable(batch)
    model, data = opened(run, "evaluate", device=device, trust=trust, ranks=ranks)
    network, _ = run.stated(WEIGHTS)
    fresh, chosen = Fresh(model), protocol.part_of(data, data_root)
    print_ = fingerprint_of_verdicts(model, chosen, protocol, batch, ranks, trust)
    if ranks.of_first(lambda: _is_there(run, print_)):
        return
    with locked(run) if ranks.first else nullcontext():
        started = time.monotonic()
        found = evaluate_pool(model, fresh, chosen, protocol, batch, Kept(run, print_), progress, ranks, trust)
        if not ranks.first:
            return
        # the summary comes last: while it is missing, nothing counts
        for file in (VerdictsRecord.FILE, "examples.npz"):
            (run.path / file).unlink(missing_ok=True)
        run.write_arrays(ARRAYS, found.arrays())
        right = (found.clean_prediction == found.label).nonzero()[0][:SHOWN]
        if found.diagnosis.status == "ok" and len(right):
            x, y = taken(model, chosen, torch.from_numpy(right))
            attack = strongest(protocol.suite.attacks).averaging(found.draws).on(model, trust=trust)
            shown = examples(model, x, y, found.threats[-1], attack, data.classes)
            run.write_arrays("examples.npz", shown)
        run.write(
            found.record(
                data=to_config(data),
                resplit=data.resplit,
                part=protocol.part,
                seed=protocol.seed,
                protocol=to_config(protocol),
                fingerprint=print_,
                network_sha256=network,
                arrays_sha256=digest_of_arrays(found.arrays()),
                seconds=time.monotonic() - started,
                environment=environment(),
            )
        )
        for state in run.path.glob(STATES):
            state.unlink(missing_ok=True)


def _is_there(run: Run, fingerprint: str) -> bool:
    if not all(file in run for file in (VerdictsRecord.FILE, ARRAYS)):
        return False
    kept, _ = read_verdicts(run)
    shows = kept.status == "ok" and kept.clean_accuracy.value > 0  # else there is nothing to attack, and no picture
    return kept.fingerprint == fingerprint and (not shows or "examples.npz" in run)

"""How is a trained run evaluated, and where does the result go? Into a folder of its own inside the run's, once."""

import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
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
from spikeproof.progress import Report, shown, silent
from spikeproof.runs import Run, environment
from spikeproof.runs.digests import digest_of_arrays
from spikeproof.runs.folder import EVALUATIONS, Folder
from spikeproof.runs.locks import locked, sweep
from spikeproof.runs.protocol_names import LETTERS
from spikeproof.runs.records import VerdictsRecord
from spikeproof.runs.ties import WEIGHTS
from spikeproof.runs.verdict_files import ARRAYS, read_verdicts

__all__ = ["evaluate_run"]

EXAMPLES = "examples.npz"
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
    progress: Report | None = None,
) -> Folder:
    """Adds an evaluation to `run`: ``verdicts.json``, ``verdicts.npz`` and ``examples.npz`` in a folder of its own.

    It is about the protocol's images of the run's data; every other evaluation of the run stays. Returns that folder.
    Does nothing more if it is there for the same weights, images and protocol; goes on where it was stopped, with any
    number of `ranks`. The images are dealt to them, and rank 0 writes; the run folder lies where all see it.
    `progress` hears what is going on (None: it is shown on stderr; `progress.silent` shows nothing). Raises
    `UserError` for a run whose training has not finished, for one that another process writes into, and for what
    `evaluate` refuses.
    """
    batch = usable(batch)
    model, data = opened(run, "evaluate", device=device, trust=trust, ranks=ranks)
    network, _ = run.stated(WEIGHTS)
    fresh, chosen = Fresh(model), protocol.part_of(data, data_root)
    print_ = fingerprint_of_verdicts(model, chosen, protocol, batch, ranks, trust)
    folder = Folder(run.path / EVALUATIONS / f"{protocol.name}-{print_[:LETTERS]}")
    for there in (folder, run):  # beside run.json is what was written before
        if ranks.of_first(lambda: _is_there(there, network, print_)):  # noqa: B023
            if ranks.first:
                sweep(run, there.path.glob(STATES))
            return there
    with locked(run) if ranks.first else nullcontext():
        if ranks.first:
            folder.path.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with shown(progress if ranks.first else silent, run.name) as report:
            found = evaluate_pool(model, fresh, chosen, protocol, batch, Kept(folder, print_), report, ranks, trust)
        if not ranks.first:
            return folder
        # the summary comes last: while it is missing, nothing counts
        for file in (VerdictsRecord.FILE, EXAMPLES):
            (folder.path / file).unlink(missing_ok=True)
        folder.write_arrays(ARRAYS, found.arrays())
        right = (found.clean_prediction == found.label).nonzero()[0][:SHOWN]
        if found.diagnosis.status == "ok" and len(right):
            x, y = taken(model, chosen, torch.from_numpy(right))
            attack = strongest(protocol.suite.attacks).averaging(found.draws).on(model, trust=trust)
            pictures = examples(model, x, y, found.threats[-1], attack, data.classes)
            folder.write_arrays(EXAMPLES, pictures)
        folder.write(
            found.record(
                data=to_config(data),
                resplit=data.resplit,
                part=protocol.part,
                seed=protocol.seed,
                protocol=to_config(protocol),
                fingerprint=print_,
                network_sha256=network,
                arrays_sha256=digest_of_arrays(found.arrays()),
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=time.monotonic() - started,
                environment=environment(),
            )
        )
        for state in folder.path.glob(STATES):
            state.unlink(missing_ok=True)
        return folder


def _is_there(folder: Folder, network: str, fingerprint: str) -> bool:
    """Whether the evaluation is in `folder`, whole; then its verdicts are those of the weights `network`."""
    if not all(file in folder for file in (VerdictsRecord.FILE, ARRAYS)):
        return False
    kept, _ = read_verdicts(folder)
    shows = kept.status == "ok" and kept.clean_accuracy.value > 0  # else there is nothing to attack, and no picture
    if kept.fingerprint != fingerprint or (shows and EXAMPLES not in folder):
        return False
    if kept.network_sha256 not in ("", network):  # the same tensors, beside other facts
        folder.write(replace(kept, network_sha256=network))
    return True

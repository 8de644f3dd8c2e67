"""How is a trained run certified, and where does the result go? Into its own folder, once."""

import time
from contextlib import nullcontext
from pathlib import Path

import torch

from spikeproof.attacks import Threat
from spikeproof.certificates.certificate import Certificate
from spikeproof.certificates.certification import STATES, Certification, certify_pool, usable
from spikeproof.configs import to_config
from spikeproof.data import PartName
from spikeproof.distributed import ALONE, Ranks
from spikeproof.evaluation.ledger import Kept, fingerprint
from spikeproof.evaluation.opened_runs import opened
from spikeproof.evaluation.pools import part_of
from spikeproof.progress import Report, silent
from spikeproof.runs import Run, environment
from spikeproof.runs.certificate_files import ARRAYS, read_certificates
from spikeproof.runs.digests import digest_of_arrays
from spikeproof.runs.locks import locked, sweep
from spikeproof.runs.records import CertificatesRecord
from spikeproof.runs.ties import WEIGHTS

__all__ = ["certify_run"]


def certify_run(
    run: Run,
    certificate: Certificate,
    *,
    at: Threat | None = None,
    part: PartName = "test",
    images: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    data_root: str | Path | None = None,
    device: str | torch.device | None = None,
    trust: bool = False,
    ranks: Ranks = ALONE,
    progress: Report = silent,
) -> None:
    """Writes ``certificates.json`` and ``certificates.npz`` for the first `images` of a part of the run's data.

    Does nothing if they are there for the same weights, images and settings; goes on where it was stopped, with any
    number of `ranks`. Raises `UserError` for a run whose training has not finished, for one that another process writes
    into, and for what `certify` refuses.
    """
    done = Certification(certificate=certificate, at=at, part=part, images=images, seed=seed)
    model, data = opened(run, "certify", device=device, trust=trust, ranks=ranks)
    model, pool = usable(model), part_of(data, part, images, data_root)
    network, _ = run.stated(WEIGHTS)
    print_ = fingerprint(model, pool, done, None, ranks)
    if ranks.of_first(lambda: _is_there(run, print_)):
        if ranks.first:
            sweep(run, run.path.glob(STATES))
        return
    with locked(run) if ranks.first else nullcontext():
        started = time.monotonic()
        found = certify_pool(model, pool, done, batch, Kept(run, print_), progress, ranks)
        if not ranks.first:
            return
        (run.path / CertificatesRecord.FILE).unlink(missing_ok=True)  # while it is missing, nothing counts
        run.write_arrays(ARRAYS, found.arrays())
        run.write(
            found.record(
                data=to_config(data),
                resplit=data.resplit,
                part=part,
                seed=seed,
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
    if not all(file in run for file in (CertificatesRecord.FILE, ARRAYS)):
        return False
    return read_certificates(run)[0].fingerprint == fingerprint

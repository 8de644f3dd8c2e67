"""How is the energy of a trained run measured, and where does the result go? Into its own folder, once."""

import time
from pathlib import Path

import torch

from spikeproof.attacks import Attack, EnergyAttack, Threat
from spikeproof.choices import UserError
from spikeproof.configs import to_config
from spikeproof.data import PartName
from spikeproof.evaluation.consumption import energy
from spikeproof.evaluation.ledger import fingerprint
from spikeproof.evaluation.opened_runs import opened
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.suites import Suite
from spikeproof.runs import Run, environment
from spikeproof.runs.locks import locked
from spikeproof.runs.records import EnergyRecord

__all__ = ["energy_of_run"]


def energy_of_run(
    run: Run,
    threat: Threat,
    *,
    attack: Attack = EnergyAttack(),
    images: int = 256,
    part: PartName = "test",
    batch: int = 64,
    seed: int = 0,
    data_root: str | Path | None = None,
    device: str | torch.device | None = None,
    trust: bool = False,
) -> EnergyRecord:
    """Writes ``energy.json`` for the first `images` of the run's data, and returns what it holds.

    Does nothing but return it if it is there for the same weights, images and settings. Raises `UserError` for a run
    whose training has not finished, and for what `energy` refuses.
    """
    suite = Suite(name="energy", attacks=(attack,))
    protocol = Protocol(threats=(threat,), suite=suite, part=part, images=images, seed=seed)
    if batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")
    model, data = opened(run, "energy", device=device, trust=trust)
    chosen = protocol.part_of(data, data_root)
    print_ = fingerprint(model, chosen, protocol, batch, trust=trust)
    if EnergyRecord.FILE in run and (kept := run.read(EnergyRecord)).fingerprint == print_:
        return kept
    with locked(run):
        started = time.monotonic()
        x, _ = chosen.batch(torch.arange(len(chosen)))
        record = energy(model, x, threat, attack, batch=batch, seed=seed).record(
            data=to_config(data),
            resplit=data.resplit,
            part=part,
            seed=seed,
            fingerprint=print_,
            seconds=time.monotonic() - started,
            environment=environment(),
        )
        run.write(record)
        return record

"""How is a trained run probed, and where does the result go? Into its own folder, once."""

import time
from dataclasses import replace
from pathlib import Path

import torch

from spikeproof.attacks import PGD, Attack, Threat
from spikeproof.choices import UserError
from spikeproof.configs import to_config
from spikeproof.data import PartName
from spikeproof.evaluation.ledger import fingerprint
from spikeproof.evaluation.opened_runs import opened
from spikeproof.evaluation.probes import probe
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.suites import Suite
from spikeproof.runs import Run, environment
from spikeproof.runs.locks import locked, sweep
from spikeproof.runs.records import ProbesRecord
from spikeproof.snn.layer_names import layer_names

__all__ = ["probe_run"]


def probe_run(
    run: Run,
    threat: Threat,
    *,
    attack: Attack = PGD(steps=10),
    images: int = 256,
    part: PartName = "test",
    batch: int = 256,
    seed: int = 0,
    data_root: str | Path | None = None,
    device: str | torch.device | None = None,
    trust: bool = False,
) -> ProbesRecord:
    """Writes ``probes.json`` for the first `images` of the run's data, and returns what it holds.

    Does nothing but return it if it is there for the same weights, images and settings. Raises `UserError` for a run
    whose training has not finished, and for what `probe` refuses.
    """
    protocol = Protocol(
        threats=(threat,), suite=Suite(name="probes", attacks=(attack,)), part=part, images=images, seed=seed
    )
    if batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")
    model, data = opened(run, "probe", device=device, trust=trust)
    chosen = protocol.part_of(data, data_root)
    print_ = fingerprint(model, chosen, protocol, batch, trust=trust)
    if ProbesRecord.FILE in run and (kept := run.read(ProbesRecord)).fingerprint == print_:
        sweep(run, ())
        return kept
    with locked(run):
        started = time.monotonic()
        found = probe(model, *chosen.batch(torch.arange(len(chosen))), threat, attack, batch=batch, seed=seed)
        said = layer_names(model)
        potentials = {said.get(layer, layer): course for layer, course in found.potentials.items()}
        record = replace(found, potentials=potentials).record(
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

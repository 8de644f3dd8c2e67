"""How is a trained run measured, once, and where does the result go? Into a file of its own folder."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.configs import to_config
from spikeproof.evaluation.ledger import fingerprint
from spikeproof.evaluation.opened_runs import opened
from spikeproof.evaluation.protocol import Protocol
from spikeproof.runs import Run, environment
from spikeproof.runs.locks import locked, sweep
from spikeproof.runs.records import EnergyRecord, ProbesRecord

Kept = TypeVar("Kept", ProbesRecord, EnergyRecord)


def measured_once(
    run: Run,
    kind: type[Kept],
    then: str,
    measure: Callable[[nn.Module, Tensor, Tensor], Callable[..., Kept]],
    protocol: Protocol,
    *,
    batch: int,
    data_root: str | Path | None,
    device: str | torch.device | None,
    trust: bool,
) -> Kept:
    """Writes what `measure` finds of the network, images and labels as the file of `kind`, and returns what it holds.

    `measure` returns what makes the record, once it is told of what, where and how it was measured.
    Does nothing but return it if it is there for the same weights, images and settings. Raises `UserError` for a run
    whose training has not finished; `then` is the command that asks.
    """
    if batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")
    model, data = opened(run, then, device=device, trust=trust)
    chosen = protocol.part_of(data, data_root)
    print_ = fingerprint(model, chosen, protocol, batch, trust=trust)
    if kind.FILE in run and (kept := run.read(kind)).fingerprint == print_:
        sweep(run, ())
        return kept
    with locked(run):
        started = time.monotonic()
        record_of = measure(model, *chosen.batch(torch.arange(len(chosen))))
        record = record_of(
            data=to_config(data),
            resplit=data.resplit,
            part=protocol.part,
            seed=protocol.seed,
            fingerprint=print_,
            seconds=time.monotonic() - started,
            environment=environment(),
        )
        run.write(record)
        return record

"""How is the energy of a trained run measured, and where does the result go? Into its own folder, once."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from spikeproof.attacks import Attack, EnergyAttack, Threat
from spikeproof.data import PartName
from spikeproof.evaluation.consumption import energy
from spikeproof.evaluation.measured_runs import measured_once
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.suites import Suite
from spikeproof.runs import Run
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
    protocol = Protocol(
        threats=(threat,), suite=Suite(name="energy", attacks=(attack,)), part=part, images=images, seed=seed
    )

    def count(model: nn.Module, x: Tensor, _: Tensor) -> Callable[..., EnergyRecord]:
        return energy(model, x, threat, attack, batch=batch, seed=seed).record

    return measured_once(
        run, EnergyRecord, "energy", count, protocol, batch=batch, data_root=data_root, device=device, trust=trust
    )

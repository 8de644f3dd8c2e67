"""How is a trained run probed, and where does the result go? Into its own folder, once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spikeproof.attacks import PGD, Attack, Threat
from spikeproof.data import PartName
from spikeproof.evaluation.measured_runs import measured_once
from spikeproof.evaluation.probes import probe
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.suites import Suite
from spikeproof.runs import Run
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

    def look(model: nn.Module, x: Tensor, y: Tensor) -> Callable[..., ProbesRecord]:
        found, said = probe(model, x, y, threat, attack, batch=batch, seed=seed), layer_names(model)
        potentials = {said.get(layer, layer): course for layer, course in found.potentials.items()}
        return replace(found, potentials=potentials).record

    return measured_once(
        run, ProbesRecord, "probe", look, protocol, batch=batch, data_root=data_root, device=device, trust=trust
    )

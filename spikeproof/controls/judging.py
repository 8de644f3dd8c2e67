"""How does the evaluation judge the controls? Right, where it flags those that hide, and no other."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from spikeproof.calling import is_stochastic
from spikeproof.controls.hiding import HIDING
from spikeproof.controls.honest import HONEST
from spikeproof.controls.training import THREAT, Control, Trained
from spikeproof.data import Digits
from spikeproof.evaluation import Protocol, Suite, Verdicts, evaluate, suite_named
from spikeproof.progress import Report, silent

DRAWS = 4  # of a network whose noise is declared: enough for a control
CONTROLS = HONEST + HIDING


@dataclass(frozen=True)
class Judged:
    """A control and what the evaluation said about it."""

    control: Control
    verdicts: Verdicts

    @property
    def flagged(self) -> bool:
        return self.verdicts.diagnosis.status != "ok" or any(flag.raised for flag in self.verdicts.flags)

    @property
    def right(self) -> bool:
        return self.flagged != self.control.honest


def judged(
    images: int = 60, suite: Suite | None = None, progress: Report = silent, device: str | torch.device | None = None
) -> list[Judged]:
    """Every control with its verdicts on the first `images` test digits under Linf 0.1 (default suite: standard)."""
    suite = suite or suite_named("standard")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        trained = Trained(Path(folder), device)
        for number, control in enumerate(CONTROLS):
            progress(control.name, number, len(CONTROLS))
            found.append(judged_by(suite, control, trained, images))
    progress("done", len(CONTROLS), len(CONTROLS))
    return found


def judged_by(
    suite: Suite,
    control: Control,
    trained: Trained,
    images: int,
    batch: int | None = None,
    precision: Literal["float32", "bf16"] = "float32",
) -> Judged:
    """One control with its verdicts; `batch` images are attacked side by side, the network in this `precision`."""
    network = control.network(trained)
    draws = DRAWS if is_stochastic(network) else None
    protocol = Protocol(threats=(THREAT,), suite=suite, draws=draws, attack_precision=precision)
    return Judged(
        control, evaluate(network, Digits().part("test").first(images), protocol, batch=batch, progress=silent)
    )

"""What does every part know? The device, the sizes, the clock, and which files were given."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.gpu.ceilings import Ceilings, ceilings_of
from benchmarks.gpu.clock import Clock


@dataclass(frozen=True)
class Scene:
    """Where and how much is measured. `tiny` is for a CPU in seconds: all is run, and no number means anything."""

    device: torch.device
    clock: Clock
    tiny: bool = False
    network: Path | None = None  # weights of a robust network, its model.json beside them
    data_root: Path | None = None
    runs: Path = Path("runs", "gpu")  # where networks that are trained stay, to go on with

    @cached_property
    def ceilings(self) -> Ceilings:
        """What the card itself can do, measured once."""
        return ceilings_of(self.device, tiny=self.tiny)

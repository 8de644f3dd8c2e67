"""How does a test start several ranks? As a user does: torchrun, in processes of their own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = """
import os, signal, sys
import numpy as np
import torch
import spikeproof as sp
from spikeproof.distributed import joined

torch.set_num_threads(1)
x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
network = sp.Network(architecture=sp.MLP(hidden=(24,)), steps=2).build((1, 8, 8), 10, seed=1).eval()
y = sp.predict(network, x).argmax(1)
y[:3] = (y[:3] + 1) % 10
of_batch = sp.Along(attack=sp.PGD(steps=2), paths=(sp.PDSG(),))
suite = sp.Suite(name="s", attacks=(sp.PGD(steps=1), of_batch, sp.Square(queries=4), sp.FAB(steps=2)))
protocol = sp.Protocol(threats=[sp.Linf(0.01), sp.Linf(0.04)], suite=suite, seed=4, draws=2)
"""


@dataclass(frozen=True)
class Ended:
    """How a torchrun ended, and what its ranks said."""

    code: int
    out: str
    said: str


def torchrun(ranks: int, *command: object, seconds: float = 300.0) -> Ended:
    """`command`, a script or ``-m module`` and what follows, with so many ranks; fails where it takes longer."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    around = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *map(str, command)], env=around, capture_output=True, text=True, timeout=seconds, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def script(folder: Path, code: str) -> Path:
    """A file that a rank runs: `code`, which knows an untrained network, images that it mostly gets right, a suite."""
    file = folder / "rank.py"
    file.write_text(NAMES + code)
    return file

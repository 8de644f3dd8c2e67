"""What do the tests of NIR graphs share? Small networks whose layers fire, and graphs made by hand."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.randomness import seeded

ARCHITECTURES = {
    "MLP": sp.MLP(hidden=(24, 24)),
    "SmallCNN": sp.SmallCNN(widths=(4, 8, 8)),
    "VGG": sp.VGG(stages=((4,), (8, 8)), hidden=(16,)),
    "WideResNet": sp.WideResNet(depth=10, widths=(4, 8, 8)),
    "SpikingResNet": sp.SpikingResNet(widths=(4, 8), blocks=(1, 1)),
    "SEWResNet": sp.SEWResNet(widths=(4, 8), blocks=(1, 1)),
}
NEURONS = {"IF": sp.IF(threshold=0.5), "LIF": sp.LIF(threshold=0.5), "PLIF": sp.PLIF(leak=0.9, threshold=0.5)}
Made = Callable[..., sp.SpikingNetwork]


@pytest.fixture
def network() -> Made:
    """A network of random weights whose batch norms have statistics, normalised images included."""

    def make(architecture: str = "SmallCNN", neuron: str | sp.Neuron = "LIF", **settings: Any) -> sp.SpikingNetwork:
        kind = NEURONS[neuron] if isinstance(neuron, str) else neuron
        chosen = sp.Network(architecture=ARCHITECTURES[architecture], neuron=kind, **settings)
        model = chosen.build((1, 8, 8), 10, mean=(0.3,), std=(0.4,))
        with seeded(0, torch.device("cpu")):
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    nn.init.normal_(module.running_mean, 0, 0.3)
                    nn.init.uniform_(module.running_var, 0.05, 0.3)
        return model.eval()

    return make


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def graph(tmp_path: Path) -> Callable[..., Path]:
    """Writes the nodes, one behind the other, between an input and an output; returns the file."""

    def write(*nodes: Any, shape: tuple[int, ...] = (4,), out: int | list[int] = 3, **more: Any) -> Path:
        listed = {"input": nir.Input({"input": np.array(shape)})}
        listed |= {f"{type(node).__name__.lower()}_{number}": node for number, node in enumerate(nodes)}
        listed["output"] = nir.Output({"output": np.atleast_1d(out)})
        names = list(listed)
        edges = more.pop("edges", list(pairwise(names)))
        file = tmp_path / "made.nir"
        nir.write(file, nir.NIRGraph(listed, edges, **more))
        return file

    return write

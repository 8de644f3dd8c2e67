"""What are the controls made of? Small networks that are trained on the digits, each when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikeproof.attacks import PGD, Linf
from spikeproof.data import Digits
from spikeproof.objectives import Adversarial, Objective, Standard
from spikeproof.progress import silent
from spikeproof.runs.weights import load_model
from spikeproof.snn import LIF, Network, ReLU, SmallCNN
from spikeproof.training import SGD, Recipe, Training, train

THREAT = Linf(0.1)
EPOCHS = 12
ROBUSTLY = Adversarial(threat=THREAT, attack=PGD(steps=3, keep="last"))


class Trained:
    """The networks that the controls are made of, each trained, on `device`, when it is asked for.

    By default that is CUDA where there is one, as for any run.
    """

    def __init__(self, folder: Path, device: str | torch.device | None = None, epochs: int = EPOCHS) -> None:
        self.folder = folder
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.epochs = epochs

    def by(self, name: str, objective: Objective, network: Network) -> nn.Module:
        """The network of that name, trained by `objective`."""
        recipe = Recipe(
            name=name,
            data=Digits(),
            network=network,
            objective=objective,
            training=Training(epochs=self.epochs, batch=64, optimiser=SGD(learning_rate=0.05)),
        )
        if not (self.folder / name).exists():
            train(recipe, self.folder / name, device=self.device, progress=silent)
        return load_model(self.folder / name).to(self.device)

    def plain(self) -> nn.Module:
        return self.by("plain", Standard(), small())

    def adversarial(self) -> nn.Module:
        return self.by("adversarial", ROBUSTLY, small())


def small(**changed: Any) -> Network:
    """A small spiking network of four steps, but for what is `changed`."""
    return replace(Network(architecture=SmallCNN(widths=(8, 16, 32)), neuron=LIF(), steps=4), **changed)


def small_ann() -> Network:
    return small(neuron=ReLU(), steps=1)


@dataclass(frozen=True)
class Control:
    """A network that must be flagged, or must not; `flags` are the keys of those that are there for it."""

    name: str
    honest: bool
    network: Callable[[Trained], nn.Module]
    flags: tuple[str, ...] = ()

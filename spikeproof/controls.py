"""Does the evaluation see what it must? Networks that hide from attacks, and honest ones, each judged by it.

The hidden ones have to be flagged, the honest ones must not be. They are trained on the digits, in a minute or two.
"""

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spikeproof.attacks import PGD, Linf
from spikeproof.calling import is_stochastic
from spikeproof.data import Digits
from spikeproof.evaluation import Protocol, Suite, Verdicts, evaluate, suite_named
from spikeproof.objectives import Adversarial, Objective, Standard, ThresholdGuarding
from spikeproof.progress import Report, silent
from spikeproof.runs.weights import load_model
from spikeproof.snn import LIF, RSC, Network, ReLU, SmallCNN, Triangle, view
from spikeproof.snn.dynamics import State, integrate
from spikeproof.snn.neurons import SpikingLayer
from spikeproof.training import SGD, Recipe, Training, train

THREAT = Linf(0.1)
DRAWS = 4  # of the network whose noise is declared: enough for a control
EPOCHS = 12


@dataclass(frozen=True)
class Control:
    """A network that must be flagged, or must not."""

    name: str
    honest: bool
    network: Callable[["Trained"], nn.Module]


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


class Trained:
    """The networks that the controls are made of, each trained, on `device`, when it is asked for.

    By default that is CUDA where there is one, as for any run.
    """

    def __init__(self, folder: Path, device: str | torch.device | None = None, epochs: int = EPOCHS) -> None:
        self.folder = folder
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.epochs = epochs

    def by(self, name: str, objective: Objective, network: Network | None = None) -> nn.Module:
        spiking = Network(architecture=SmallCNN(widths=(8, 16, 32)), neuron=LIF(), steps=4)
        recipe = Recipe(
            name=name,
            data=Digits(),
            network=network or spiking,
            objective=objective,
            training=Training(epochs=self.epochs, batch=64, optimiser=SGD(learning_rate=0.05)),
        )
        if not (self.folder / name).exists():
            train(recipe, self.folder / name, device=self.device)
        return load_model(self.folder / name).to(self.device)

    def plain(self) -> nn.Module:
        return self.by("plain", Standard())

    def adversarial(self) -> nn.Module:
        return self.by("adversarial", Adversarial(threat=THREAT, attack=PGD(steps=3, keep="last")))


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


def judged_by(suite: Suite, control: Control, trained: Trained, images: int, batch: int | None = None) -> Judged:
    """One control with its verdicts; `batch` images are attacked side by side."""
    network = control.network(trained)
    draws = DRAWS if is_stochastic(network) else None
    protocol = Protocol(threats=(THREAT,), suite=suite, draws=draws)
    return Judged(control, evaluate(network, Digits().part("test").first(images), protocol, batch=batch))


class Outside(nn.Module):
    """A network behind something that is done to its images."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.before(x))


class Amplified(nn.Module):
    """A layer whose currents and threshold are a hundred times as large: the same spikes, far from any slope."""

    def __init__(self, layer: SpikingLayer) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        with torch.no_grad():
            self.layer.threshold.mul_(100)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(100 * x)


class Stateful(nn.Module):
    """A layer that goes on from where the last call left its potentials."""

    def __init__(self, layer: SpikingLayer) -> None:
        super().__init__()
        self.layer = layer
        self.left: State | None = None

    def forward(self, x: Tensor) -> Tensor:
        currents = x.expand(self.layer.steps, *x.shape[1:])
        left = self.left if self.left is not None and self.left[0].shape == currents[0].shape else None
        trace = integrate(currents, self.layer.dynamics(), Triangle(), left)
        self.left = tuple(each.detach() for each in trace.last)
        return trace.spikes


class OfTheBatch(nn.Module):
    """A network whose logits are centred over the batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        return logits - logits.mean(0)


def with_layers(network: nn.Module, made: Callable[[SpikingLayer], nn.Module]) -> nn.Module:
    """A copy of the network with another module in the place of each layer of neurons."""
    twin = copy.deepcopy(network)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, SpikingLayer):
                setattr(module, name, made(child))
    return twin


CONTROLS = (
    Control("plain training", True, Trained.plain),
    Control("adversarial training", True, Trained.adversarial),
    Control(
        "an ANN, adversarial training",
        True,
        lambda trained: trained.by(
            "ann",
            Adversarial(threat=THREAT, attack=PGD(steps=3, keep="last")),
            Network(architecture=SmallCNN(widths=(8, 16, 32)), neuron=ReLU(), steps=1),
        ),
    ),
    Control(
        "declared noise",
        True,
        lambda trained: trained.by(
            "noise", Standard(), Network(architecture=SmallCNN(widths=(8, 16, 32)), encoder=RSC(sigma=0.2), steps=4)
        ),
    ),
    Control("a slope far too narrow", False, lambda trained: view(trained.plain(), gradient=Triangle(width=0.001))),
    Control("thresholds out of the slope's sight", False, lambda trained: with_layers(trained.plain(), Amplified)),
    Control("a detached input", False, lambda trained: Outside(trained.plain(), Tensor.detach)),
    Control("a quantised input", False, lambda trained: Outside(trained.plain(), lambda x: (x * 8).round() / 8)),
    Control(
        "undeclared noise", False, lambda trained: Outside(trained.plain(), lambda x: x + 0.1 * torch.randn_like(x))
    ),
    Control("neurons that keep their state", False, lambda trained: with_layers(trained.plain(), Stateful)),
    Control("logits centred over the batch", False, lambda trained: OfTheBatch(trained.plain())),
    Control(
        "threshold guarding without adversarial training",
        False,
        lambda trained: trained.by("guarded", ThresholdGuarding(weight=2.0, distance=2.0)),
    ),
)

"""Which networks are honest, however unusual? None of these may be flagged."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.controls.training import ROBUSTLY, Control, Trained, small, small_ann
from spikeproof.objectives import Standard
from spikeproof.snn import IF, PLIF, RSC, AdaptiveLIF, FirstSpike, Latency, Network, Poisson, SynapticLIF


class Scaled(nn.Module):
    """A network whose logits are multiplied by a number."""

    def __init__(self, network: nn.Module, by: float) -> None:
        super().__init__()
        self.network = network
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * self.by


class Ensemble(nn.Module):
    """The mean logits of several networks."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks]).mean(0)


class EarlyExit(nn.Module):
    """The first network's logits where it is sure, the second one's elsewhere."""

    def __init__(self, first: nn.Module, second: nn.Module, sure: float = 0.9) -> None:
        super().__init__()
        self.first, self.second, self.sure = first, second, sure

    def forward(self, x: Tensor) -> Tensor:
        early = self.first(x)
        return torch.where(early.softmax(1).amax(1, keepdim=True) > self.sure, early, self.second(x))


class Double(nn.Module):
    """A network that computes in float64."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.double())


class Blurred(nn.Module):
    """A network behind a light blur: a third of each pixel is the mean of its 3x3 neighbours."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        means = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return self.network((2 * x + means) / 3)


class Sharpest(nn.Module):
    """The largest of 2x2 currents of an ANN, and a smooth unit: what published networks have beside ReLU."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        finer = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.network(F.max_pool2d(F.gelu(4 * finer) / 4, 2))


def trained(name: str, network: Network) -> Callable[[Trained], nn.Module]:
    return lambda trained: trained.by(name, Standard(), network)


HONEST = tuple(
    Control(name, True, network)
    for name, network in {
        "plain training": Trained.plain,
        "adversarial training": Trained.adversarial,
        "an ANN, adversarial training": lambda trained: trained.by("ann", ROBUSTLY, small_ann()),
        "declared noise": trained("noise", small(encoder=RSC(sigma=0.2))),
        "Poisson coding": trained("poisson", small(encoder=Poisson())),
        "latency coding": trained("latency", small(encoder=Latency())),
        "the class that fires first": trained("first", small(readout=FirstSpike())),
        "learned leaks": trained("plif", small(neuron=PLIF())),
        "adaptive thresholds": trained("adaptive", small(neuron=AdaptiveLIF())),
        "synaptic currents": trained("synaptic", small(neuron=SynapticLIF())),
        "soft reset, two steps": trained("soft", small(neuron=IF(reset="soft"), steps=2)),
        "one step": trained("once", small(steps=1)),
        "two networks": lambda trained: Ensemble(trained.plain(), trained.adversarial()),
        "an early exit": lambda trained: EarlyExit(trained.plain(), trained.adversarial()),
        "float64": lambda trained: Double(trained.plain()),
        "logits a million times as small": lambda trained: Scaled(trained.plain(), 1e-6),
        "logits of 1e30": lambda trained: Scaled(trained.plain(), 1e30),
        "a blur in front": lambda trained: Blurred(trained.plain()),
        "GELU and max-pooling": lambda trained: Sharpest(trained.by("ann", ROBUSTLY, small_ann())),
    }.items()
)

"""EnergyAttack: images that make a network work harder, and that need not break it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from spikeproof.attacks.attack import Attack, Outcome
from spikeproof.attacks.losses import AttackLoss, entry, others
from spikeproof.attacks.pgd import PGD
from spikeproof.attacks.query import Task
from spikeproof.choices import Count, Positive
from spikeproof.snn import GradientPath, Triangle, can_follow, has_spikes, view
from spikeproof.snn.operations import Call, weights_called

SMALL = 0.1  # an activation of an ANN of this size counts a half
LOAD = 0  # the first answer of a `Loaded` network; its classes follow


@dataclass(frozen=True, kw_only=True)
class EnergyAttack(Attack):
    """PGD on the number of operations: spikes, each as often as weights that are not 0 wait for it.

    With `keep_class` the class stays `y`, so `y` should be what the network says of the image. What is climbed is the
    sum of what enters each layer of weights but the first, which sees the image, times its fan-out. Its gradient goes
    through the spikes along `gradient` (None: the network's own path). Activations a of an ANN count as a / (a + 0.1).
    `relative_step` is the step size in units of eps (default 2.5 / steps). The image itself is the start, and the
    first candidate. Source of the idea: Shumailov et al., EuroS&P 2021 (sponge examples), and for spiking networks
    Krithivasan et al., DAC 2022.
    """

    under: ClassVar[tuple[str, ...]] = ("images", "frames")

    steps: Count = 50
    relative_step: Positive | None = None
    keep_class: bool = True
    gradient: GradientPath | None = Triangle(width=0.5)
    eot: Count = 1

    def search(self, task: Task) -> Outcome:
        loss = Load(keep_class=self.keep_class)
        climb = PGD(steps=self.steps, relative_step=self.relative_step, loss=loss, eot=self.eot, start="clean")
        y = torch.stack([torch.full_like(task.y, LOAD), task.y + 1], 1)
        model = task.model
        if self.gradient is not None and has_spikes(model) and can_follow(model, self.gradient):
            model = view(model, gradient=self.gradient)
        found = climb.search(replace(task, model=Loaded(model), y=y, stop=False, memory=None))
        return replace(found, broken=None)


@dataclass(frozen=True, kw_only=True)
class Load(AttackLoss):
    """The load of a `Loaded` network; for a class that is lost, how far it is below another, less than any load."""

    keep_class: bool = True

    def __call__(self, answers: Tensor, target: Tensor) -> Tensor:
        load, logits, label = answers[:, LOAD], answers[:, LOAD + 1 :], target[:, 1] - 1
        if not self.keep_class:
            return load
        short = others(logits, label).amax(1) - entry(logits, label)
        return torch.where(short >= 0, -1 - short, load)


class Loaded(nn.Module):
    """A network that answers its load, a share of the largest, and then its logits, moved below -1: the load wins.

    The engine takes an image for broken where the largest answer is another than the target's. With the load as the
    target none ever is, and the loss alone decides which image is the best.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.fan_outs: dict[tuple[str, torch.Size], tuple[Tensor, float]] = {}  # and their sums

    def forward(self, x: Tensor) -> Tensor:
        with weights_called(self.model) as calls:
            logits = self.model(x)
        load, most = logits.new_zeros(len(x)), 0.0
        for call in calls:
            if call.name == calls[0].name:
                continue
            fan_out, whole = self._fan_out(call)
            load = load + call.per_image(_size(call), fan_out.to(logits.dtype), len(x))
            most += whole * (call.pooled or 1) * call.rows / len(x)
        return torch.cat([load.unsqueeze(1) / (most or 1), logits - logits.detach().amax(1, keepdim=True) - 1], 1)

    def _fan_out(self, call: Call) -> tuple[Tensor, float]:
        key = (call.name, call.input.shape[-call.axes :])
        if key not in self.fan_outs:
            found = call.fan_out()
            self.fan_outs[key] = found, float(found.sum())
        return self.fan_outs[key]


def _size(call: Call) -> Tensor:
    """For each entry of the input, how many spikes it stands for; or nearly 1 for a large activation of an ANN."""
    if call.spikes is not None:
        return call.spikes.abs()
    size = call.input.abs()
    return size / (size + SMALL)

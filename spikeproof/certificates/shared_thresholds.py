"""Which radius follows from all codes of thresholds that pixels share? An exact one, without any drawing."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from spikeproof.attacks import L1, Threat
from spikeproof.calling import answer_of, as_evaluated, check_logits, in_full_precision
from spikeproof.certificates.certificate import Certificate, Finding, Prover
from spikeproof.certificates.smoothed import CodedSpikes
from spikeproof.certificates.voting import CLOSED, batch_for
from spikeproof.choices import UserError, short, whole_number
from spikeproof.snn import SpikingNetwork, Thresholds, adapt, attack_view, view

__all__ = ["SharedThresholds"]

ROUNDED = 1e-4  # levels: float32 has 1.5e-5


@dataclass(frozen=True, kw_only=True)
class SharedThresholds(Certificate):
    """The majority over all codes of a `Thresholds` network, each computed once: exact L1 radii, right with certainty.

    A pixel that crosses a threshold changes one of the codes. So the majority of n1 votes over n2 holds for floor((n1 -
    n2 - [its number is higher]) / 2) crossings. With `images` "8-bit" pixels are whole levels, in the attacked image
    too, and a crossing costs 1/255. With "any" an attacker may put a pixel just beyond the nearest threshold, half a
    level away or less: the radius is about half as large. Source: Levine and Feizi, ICML 2021; that it codes spikes is
    ours.
    """

    threat: ClassVar[type[Threat]] = L1
    votes = True

    images: Literal["any", "8-bit"] = "any"

    def prover(self, model: nn.Module, *, seed: int = 0, batch: int | None = None, least: float = 0.0) -> Prover:
        network = adapt(model)
        if not isinstance(network, SpikingNetwork) or not isinstance(network.encoder, Thresholds):
            own = short(network.encoder) if isinstance(network, SpikingNetwork) else "no code of ours"
            raise UserError(
                f"SharedThresholds is about the encoder Thresholds, and the network has {own}: train one with it"
            )
        size = None if batch is None else whole_number("batch", batch, 1)
        coded = attack_view(view(network, encoder=ConstantSpikes()))
        return Enumeration(network.encoder, coded, network.steps, self.images, size)


@dataclass(frozen=True, kw_only=True)
class ConstantSpikes(CodedSpikes):
    """Spikes ``[B, T, C, H, W]`` that are the same at every step, of which the first is looked at."""

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        return x[:, :1].transpose(0, 1)


@dataclass(frozen=True)
class Enumeration(Prover):
    """The votes of all codes."""

    code: Thresholds
    network: nn.Module
    steps: int
    images: str
    batch: int | None

    def largest(self, x: Tensor) -> float:
        return self._radius(self.code.levels // 2, x)

    def __call__(self, x: Tensor, number: int) -> Finding:
        if self.images == "8-bit" and float((x * 255 - (x * 255).round()).abs().max()) > 1e-3:
            raise UserError(f"image {number} is of more levels than 8 bits have: take SharedThresholds(images='any')")
        counted = self.votes(x)
        order = torch.arange(len(counted))
        named = int((counted == counted.max()).nonzero()[0])  # of equals the first
        ahead = (counted[named] - counted - (order < named).long())[order != named]
        return Finding(named, self._radius(int(ahead.min()) // 2, x), 1.0, int(counted[named]), self.code.levels)

    def _radius(self, crossings: int, x: Tensor) -> float:
        """The closed ball in which there are no more crossings than so many."""
        if self.images == "8-bit":
            return crossings / 255
        levels = x.double().flatten() * 255
        nearest = ((levels - levels.floor() - 0.5).abs() - ROUNDED).clamp(min=0).sort().values
        costs = float(nearest[: crossings + 1].sum()) + max(
            0, crossings + 1 - len(nearest)
        )  # further ones a level each
        return costs / 255 * CLOSED

    def votes(self, x: Tensor) -> Tensor:
        """How many codes are named each class ``[K]``."""
        found = []
        with torch.no_grad(), as_evaluated(self.network), in_full_precision():
            for k in torch.arange(self.code.levels, device=x.device).split(self.batch or batch_for(x)):
                codes = self.code.codes(x.expand(len(k), *x.shape), k)
                answer = answer_of(self.network, codes.unsqueeze(1).expand(-1, self.steps, *x.shape))
                check_logits(answer, codes)
                found.append(answer.argmax(1).cpu())
        return torch.bincount(torch.cat(found), minlength=answer.shape[1])

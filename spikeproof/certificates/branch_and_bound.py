"""Is there an image within `eps` that gets another class? By linear programs, and by branching until that is known."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import PGD, Attack, Linf, Threat
from spikeproof.bounds import How, Range, margins
from spikeproof.calling import predict
from spikeproof.certificates.certificate import Certificate, Finding, Prover
from spikeproof.certificates.interval_bounds import Size, box_of, in_question
from spikeproof.choices import Positive
from spikeproof.snn import SpikingNetwork, attack_view

if TYPE_CHECKING:
    from spikeproof.bounds.encoding import Encoding, Encodings

__all__ = ["BranchAndBound"]

FORGIVEN = 1e-5  # of a margin, beyond rounding: HiGHS forgives 1e-7 in each row
CLEAR = 1e-4  # from thresholds, and in a margin, where an image is looked for


@dataclass(frozen=True, kw_only=True)
class BranchAndBound(Certificate):
    """The network itself at Linf `eps`, certified (radius `eps`), refuted by an image (`limit`), or left open.

    First `IntervalBounds`, then an `attack`, then for each class that is left a linear program over the hulls of all
    neurons at all steps. With `branch` it is solved in whole spikes: HiGHS branches until `seconds`, which all programs
    of an image share, have passed. So what is left open depends on the machine. For chains of linear layers, leaky
    neurons and ReLU, with the encoder Direct; a few hundred neurons. HiGHS computes in floating point and forgives
    1e-7; a margin below 1e-5 is not certified. Source: Tjeng et al., ICLR 2019, for ReLU; the hulls of spikes are ours.
    """

    threat: ClassVar[type[Threat]] = Linf

    eps: Size = 8 / 255
    seconds: Positive = 10.0
    branch: bool = True
    attack: Attack = PGD(steps=20)

    def prover(self, model: nn.Module, *, seed: int = 0, batch: int | None = None, least: float = 0.0) -> Prover:
        from spikeproof.bounds.encoding import Encodings  # scipy, loaded when such a certificate is made

        network, exact = in_question(model, self)
        return Search(self, network, exact, Encodings(exact), seed)


@dataclass(frozen=True, eq=False)
class Search(Prover):
    """The search for an image of another class, until one is found or none is left."""

    certificate: BranchAndBound
    model: SpikingNetwork
    network: SpikingNetwork  # in float64
    encodings: "Encodings"
    seed: int

    def largest(self, x: Tensor) -> float:
        return self.certificate.eps

    def __call__(self, x: Tensor, number: int) -> Finding:
        named, eps = int(predict(self.model, x.unsqueeze(0)).argmax(1)), self.certificate.eps
        box = box_of(x, eps)
        left = self._left(box, named)
        if not left:
            return Finding(named, eps)
        label = torch.tensor([named], device=x.device)
        attacked = self.certificate.attack(attack_view(self.model), x.unsqueeze(0), label, Linf(eps), seed=self.seed)
        limit = self._limit(attacked, x, named)
        return self._searched(x, box, named, left) if math.isinf(limit) else Finding(named, 0.0, limit=limit)

    def _left(self, box: Range, named: int) -> list[int]:
        """The classes that intervals do not exclude."""
        around, label = Range(*(end.unsqueeze(0) for end in box)), torch.tensor([named], device=box.low.device)
        with torch.no_grad():
            found = margins(self.network, around, label, How())[0]
        return [other for other, margin in enumerate(found.tolist()) if other != named and not margin > 0]

    def _searched(self, x: Tensor, box: Range, named: int, left: list[int]) -> Finding:
        until = time.monotonic() + self.certificate.seconds
        encoding = self.encodings.of(box, named)
        for other in left:
            most = float(encoding.slack[other]) + FORGIVEN
            there, limit = self._solved(encoding, other, most, x, named, until)
            if there is False:
                continue
            if math.isinf(limit) and self.certificate.branch:
                clear = self.encodings.of(box, named, clear=CLEAR)
                _, limit = self._solved(clear, other, -CLEAR, x, named, until)
            return Finding(named, 0.0, limit=limit)
        return Finding(named, self.certificate.eps)

    def _solved(
        self, encoding: "Encoding", other: int, most: float, x: Tensor, named: int, until: float
    ) -> tuple[bool | None, float]:
        """Whether there may be an image whose margin over `other` is `most` at most, and how far one is away."""
        margin, there = encoding.margins.chosen(np.array([other])), None
        for whole in (False, True)[: 1 + self.certificate.branch]:
            there, values = encoding.program.solved(margin, most, whole=whole, seconds=until - time.monotonic())
            if there is False:
                break
            if there:
                limit = self._limit(torch.from_numpy(values[: x.numel()]).to(x).view(1, *x.shape), x, named)
                if not math.isinf(limit):
                    return True, limit
        return there, math.inf

    def _limit(self, perturbed: Tensor, x: Tensor, named: int) -> float:
        """How far the image ``[1, C, H, W]`` is away, if it is inside and the network names it otherwise; else inf."""
        threat = Linf(self.certificate.eps)
        inside = threat.project(perturbed, x.unsqueeze(0))
        if int(predict(self.model, inside).argmax(1)) == named:
            return math.inf
        return float(threat.distance(inside, x.unsqueeze(0)))

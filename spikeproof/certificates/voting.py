"""How is a class certified by votes? A first sample names it, a second one bounds its probability: the only such loop.

Source: Cohen, Rosenfeld and Kolter, ICML 2019, Certify. Draws of an image come from a stream of its own, in blocks, so
a count depends neither on other images nor on their order. All passes of a batch are of one image.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from spikeproof.calling import answer_of, as_evaluated, check_logits, in_full_precision
from spikeproof.certificates.certificate import Certificate, Finding, Prover
from spikeproof.choices import Count, UserError, Within, whole_number
from spikeproof.randomness import seed_from, seeded
from spikeproof.snn import SpikingNetwork, adapt, attack_view

BLOCK = 500  # draws under one seed
BATCH = 2000  # passes at once on an accelerator
FEWEST, VALUES = 500, 2**17  # on a CPU, and the values of their images together where there is room for more passes
FIRST, SECOND = 0, 1  # samples of an image
CLOSED = 1 - 1e-9  # at the end of an open ball two classes are as likely; and what is rounded is rounded down


@dataclass(frozen=True, kw_only=True)
class Voted(Certificate):
    """A certificate of the class that most passes under noise name.

    `first` draws choose the class, and `n` others bound its probability from below, wrong with probability `alpha` at
    most (Clopper-Pearson, one-sided). A radius follows where the bound is above 1/2; the image is abstained from
    elsewhere. Raises `UserError` for an `n` that cannot certify anything.
    """

    votes = True

    n: Count = 10_000
    first: Count = 100
    alpha: Annotated[float, Within(0, 0.5, "()")] = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.best <= 0.5:
            least = least_n(self.alpha)
            raise UserError(
                f"n {self.n} is too small to certify anything at alpha {self.alpha:g}: if all votes agree, the bound "
                f"on their probability is {self.best:.3f}, and it must be above 1/2. Take n from {least} on"
            )

    @property
    def best(self) -> float:
        """The bound on the probability where all n votes agree."""
        return self.alpha ** (1 / self.n)

    @abstractmethod
    def network(self, model: nn.Module) -> nn.Module:
        """What maps draws to logits; raises `UserError` for a network of another noise."""

    @abstractmethod
    def draw(self, x: Tensor, steps: int) -> Tensor:
        """One draw for each row of `x` ``[B, C, H, W]``, of torch's generator; a gradient passes through it."""

    @abstractmethod
    def radius(self, p: float, x: Tensor, steps: int) -> float:
        """How far from ``[C, H, W]`` a class of probability `p` > 1/2 there is the likelier one; an open ball."""

    def reached(self, p: float, x: Tensor, steps: int) -> float:
        """The radius of a closed ball, 0 where `p` is no majority."""
        return max(0.0, self.radius(p, x, steps) * CLOSED) if p > 0.5 else 0.0

    def prover(self, model: nn.Module, *, seed: int = 0, batch: int | None = None, least: float = 0.0) -> Prover:
        network = attack_view(self.network(adapt(model)))
        size = None if batch is None else whole_number("batch", batch, 1)
        return Votes(self, network, steps_of(network), seed, size, least)


@dataclass(frozen=True)
class Votes(Prover):
    """The votes of `network`, an attack view: batch norms are folded, and what is constant in time is computed once."""

    certificate: Voted
    network: nn.Module
    steps: int
    seed: int
    batch: int | None
    least: float

    def radius(self, p: float, x: Tensor) -> float:
        return self.certificate.reached(p, x, self.steps)

    def largest(self, x: Tensor) -> float:
        return self.radius(self.certificate.best, x)

    def __call__(self, x: Tensor, number: int) -> Finding:
        with torch.no_grad(), as_evaluated(self.network), in_full_precision():
            return self._found(x, number)

    def _found(self, x: Tensor, number: int) -> Finding:
        asked = self.certificate
        first = torch.stack([counted for counted, _ in self._ballots(x, number, FIRST, asked.first)]).sum(0)
        named, votes, draws = int(first.argmax()), 0, 0
        spare = asked.n - self._needed(x)  # votes that may go elsewhere
        for counted, passes in self._ballots(x, number, SECOND, asked.n):
            votes, draws = votes + int(counted[named]), draws + passes
            if draws - votes > spare and draws < asked.n:
                return Finding(named, 0.0, 0.0, votes, draws)
        p = lower_bound(votes, asked.n, asked.alpha)
        return Finding(named, self.radius(p, x), p, votes, asked.n)

    def _needed(self, x: Tensor) -> int:
        """The fewest votes that reach the radius `least`; n + 1 if none do, and 0 where none is asked for."""
        if not self.least:
            return 0
        low, high = 0, self.certificate.n + 1
        while low < high:
            middle = (low + high) // 2
            p = lower_bound(middle, self.certificate.n, self.certificate.alpha)
            low, high = (low, middle) if self.radius(p, x) >= self.least else (middle + 1, high)
        return low

    def _ballots(self, x: Tensor, number: int, sample: int, count: int) -> Iterator[tuple[Tensor, int]]:
        """Batch by batch, how many of its passes name each class ``[K]``, and how many there were.

        Logits that are no numbers name no class.
        """
        for draws in _batches(self._blocks(x, number, sample, count), self.batch or batch_for(x)):
            answer = answer_of(self.network, draws)
            check_logits(answer, draws)
            valid = answer.isfinite().all(1)
            yield torch.bincount(answer.argmax(1)[valid], minlength=answer.shape[1]).cpu(), len(draws)

    def _blocks(self, x: Tensor, number: int, sample: int, count: int) -> Iterator[Tensor]:
        """Draws of the image, `BLOCK` under a seed of their own."""
        for block, begin in enumerate(range(0, count, BLOCK)):
            size = min(BLOCK, count - begin)
            with seeded(seed_from(self.seed, number, sample, block), x.device):
                drawn = self.certificate.draw(x.expand(size, *x.shape), self.steps)
            yield drawn


def _batches(blocks: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """The rows of `blocks`, `size` at a time."""
    kept: list[Tensor] = []
    for block in blocks:
        kept.append(block)
        while sum(map(len, kept)) >= size:
            whole = torch.cat(kept) if len(kept) > 1 else kept[0]
            yield whole[:size]
            kept = [whole[size:]] if len(whole) > size else []
    if kept:
        yield torch.cat(kept)


def lower_bound(votes: int, n: int, alpha: float) -> float:
    """A bound from below on the probability of what happened `votes` times of `n`, wrong at most with `alpha`.

    Source: Clopper and Pearson, Biometrika 1934; one-sided.
    """
    from scipy.special import betaincinv  # loaded when a certificate is made

    return float(betaincinv(votes, n - votes + 1, alpha)) if votes else 0.0


def least_n(alpha: float) -> int:
    """The fewest draws that can certify anything."""
    return math.floor(math.log(alpha) / math.log(0.5)) + 1


def steps_of(network: nn.Module) -> int:
    """The time steps of a network of ours; 1 for any other, whose steps are inside it."""
    return network.steps if isinstance(network, SpikingNetwork) else 1


def batch_for(x: Tensor) -> int:
    """How many passes of one image are computed at once; of small ones many, as each batch has a price of its own."""
    return max(FEWEST, VALUES // x.numel()) if x.device.type == "cpu" else BATCH

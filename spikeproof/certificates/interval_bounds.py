"""Up to which size does no image of a box get another class? By bounds on every layer, without noise: for certain."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from spikeproof.attacks import Linf, Threat
from spikeproof.bounds import How, Range, margins, prepared
from spikeproof.calling import predict
from spikeproof.certificates.certificate import Certificate, Finding, Prover
from spikeproof.choices import Count, Pixels, UserError, Within, short, whole_number
from spikeproof.snn import SpikingNetwork, adapt

__all__ = ["IntervalBounds"]

AT_ONCE = 16  # sizes in one pass

Size = Annotated[Pixels, Within(0, 1, "(]")]


@dataclass(frozen=True, kw_only=True)
class IntervalBounds(Certificate):
    """Linf radii of the network itself, up to `eps`, by intervals of every potential at every step.

    It looks at `sizes` sizes, the multiples of eps / sizes, and takes the largest one up to which each is certified.
    With `trains` it also knows which spikes go together: all trains that a constant current has, and in the layers
    behind it the paths from one last spike to the next. Certain for float32 too, where sums are computed term by term
    (docs/certificates.md). Radii get small in deep networks and over many steps, unless the network was trained for
    them (`IntervalTraining`). Source: Gowal et al., arXiv 1810.12715; for spikes Liang et al., NeurIPS 2022; trains
    and paths are ours.
    """

    threat: ClassVar[type[Threat]] = Linf

    eps: Size = 8 / 255
    sizes: Count = 32
    trains: bool = True

    def prover(self, model: nn.Module, *, seed: int = 0, batch: int | None = None, least: float = 0.0) -> Prover:
        size = AT_ONCE if batch is None else whole_number("batch", batch, 1)
        return Intervals(self, *in_question(model, self), size)


@dataclass(frozen=True, eq=False)
class Intervals(Prover):
    """Bounds of `network`, which is that of `model` in float64; `batch` sizes at once."""

    certificate: IntervalBounds
    model: SpikingNetwork
    network: SpikingNetwork
    batch: int

    def largest(self, x: Tensor) -> float:
        return self.certificate.eps

    @torch.no_grad()
    def __call__(self, x: Tensor, number: int) -> Finding:
        named, asked = int(predict(self.model, x.unsqueeze(0)).argmax(1)), self.certificate
        radius = 0.0
        for part in torch.arange(1, asked.sizes + 1).split(self.batch):
            eps = (part.double() * (asked.eps / asked.sizes)).tolist()
            held = holds(self.network, x, named, eps, How(trains=asked.trains))
            if held:
                radius = eps[held - 1]
            if held < len(eps):
                break
        return Finding(named, radius)


def holds(network: SpikingNetwork, x: Tensor, named: int, sizes: list[float], how: How) -> int:
    """Of how many of the rising `sizes`, from the first on, it is certain that all images ``[C, H, W]`` are `named`."""
    boxes = [box_of(x, eps) for eps in sizes]
    around = Range(*(torch.stack(ends) for ends in zip(*boxes, strict=True)))
    found = margins(network, around, torch.full((len(sizes),), named, device=x.device), how)
    others = torch.arange(found.shape[1], device=x.device) != named
    sure = (found[:, others] > 0).all(1)
    return int(sure.long().cumprod(0).sum())


def box_of(x: Tensor, eps: float) -> Range:
    """All images in [0, 1] that count as inside `Linf(eps)` of `x`, in float64."""
    reach = Linf(eps).reach
    return Range((x.double() - reach).clamp(0, 1), (x.double() + reach).clamp(0, 1))


def in_question(model: nn.Module, certificate: Certificate) -> tuple[SpikingNetwork, SpikingNetwork]:
    """The network, and the same in float64, for bounds; raises `UserError` for one that they say nothing about."""
    name, network = type(certificate).__name__, adapt(model)
    if not isinstance(network, SpikingNetwork):
        raise UserError(
            f"{name} looks at every layer of a spikeproof network, and a {type(network).__name__} is none: take a "
            "certificate by votes, GaussianSmoothing for example"
        )
    if network.encoder.framed:
        raise UserError(f"{name} is about images, and the network takes event frames: take DeletionSmoothing")
    if network.stochastic:
        raise UserError(
            f"{name} is about networks that draw nothing, and {short(network.encoder)} draws: take the certificate of "
            "its noise, or a view of the network with another encoder"
        )
    exact = prepared(network)
    like = next(exact.parameters()).new_zeros(1, *network.shape)
    with torch.no_grad():
        margins(exact, Range(like, like), torch.zeros(1, dtype=torch.int64, device=like.device), How())
    return network, exact

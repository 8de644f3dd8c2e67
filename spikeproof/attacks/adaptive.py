"""Attacks that know they face a spiking network: they change how it answers backward, never what it answers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from spikeproof.attacks.attack import Attack, Best, Query
from spikeproof.attacks.losses import CrossEntropy
from spikeproof.attacks.pgd import PGD
from spikeproof.attacks.threats import Threat
from spikeproof.snn import ATan, GradientPath, Memory, Triangle, can_follow, has_spikes, recall, remembered, view
from spikeproof.specs import UserError, short


@dataclass(frozen=True, kw_only=True)
class Along(Attack):
    """`attack`, with its gradients taken along each of `paths` in turn; the best image of all is kept.

    An image that one path breaks is not attacked along the next where the evaluation stops at a break. Paths that the
    neurons of another library cannot follow are left out; a model without spiking neurons has its own path alone, and
    `attack` is run on it once. Source: the adaptive ensembles of Ozdenizci and Legenstein, TMLR 2024, and Liu et al.,
    ICML 2024.
    """

    attack: Attack = PGD(steps=50, restarts=2)
    paths: tuple[GradientPath, ...] = (Triangle(), ATan(), Triangle(width=0.5))

    def __post_init__(self) -> None:
        if not self.paths:
            raise UserError("Along needs at least one gradient path, Triangle for example")

    def __str__(self) -> str:
        return f"{short(self.attack)} along {' and '.join(map(short, self.paths))}"

    @property
    def white_box(self) -> bool:
        return self.attack.white_box

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def members(self) -> list[Attack]:
        return [replace(self, paths=(path,)) for path in self.paths]

    def on(self, model: nn.Module) -> Attack:
        paths = followed(model, self.paths)
        return replace(self, paths=paths) if paths else self.attack

    def averaging(self, draws: int) -> "Along":
        return replace(self, attack=self.attack.averaging(draws))

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        paths = followed(query.model, self.paths)
        if not paths:
            return self.attack.search(query, x, y, threat)
        best, loss = Best(x), getattr(self.attack, "loss", CrossEntropy())
        for path in paths:
            if not len(who := query.left(best)):
                break
            along = view(query.model, gradient=path)
            with query.among(who, along, before=_Slots(along, len(who)).turn_to) as other:
                z = self.attack.search(other, x[who], y[who], threat)
            best.offer(z, query.answer(z, y[who], loss, who, getattr(self.attack, "eot", 1)), who)
        return best.x


class _Slots:
    """What the paths of `model` remember of each of so many images."""

    def __init__(self, model: nn.Module, images: int) -> None:
        self.model = model
        self.images = images
        self.kept: Memory = ()
        self.indices: Tensor | None = None  # the images of the last gradient

    def turn_to(self, indices: Tensor) -> None:
        """The next gradient is about the images at `indices` ``[b]``."""
        if self.indices is not None:
            found = remembered(self.model)
            if not self.kept:
                self.kept = tuple(rows.new_zeros(self.images, *rows.shape[1:]) for rows in found)
            for kept, rows in zip(self.kept, found, strict=True):
                kept[self.indices] = rows
        self.indices = indices
        recall(self.model, tuple(kept[indices] for kept in self.kept))


def followed(model: nn.Module, paths: Iterable[GradientPath]) -> tuple[GradientPath, ...]:
    """Those of `paths` that the model's neurons can follow; none where it has no spiking ones."""
    return tuple(path for path in paths if can_follow(model, path)) if has_spikes(model) else ()

"""Attacks that know they face a spiking network: they change how it answers backward, never what it answers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import nn

from spikeproof.attacks.attack import Attack, Outcome
from spikeproof.attacks.losses import CrossEntropy
from spikeproof.attacks.pgd import PGD
from spikeproof.attacks.query import Memory, Query, Task
from spikeproof.attacks.threats import Threat
from spikeproof.choices import UserError, short
from spikeproof.snn import ATan, GradientPath, Triangle, can_follow, has_spikes, recall, remembered, view


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
        super().__post_init__()
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

    def on(self, model: nn.Module, *, trust: bool = False) -> Attack:
        paths, attack = followed(model, self.paths), self.attack.on(model, trust=trust)
        return replace(self, paths=paths, attack=attack) if paths else attack

    def averaging(self, draws: int) -> "Along":
        return replace(self, attack=self.attack.averaging(draws))

    def search(self, task: Task) -> Outcome:
        query = Query.over(task, eot=getattr(self.attack, "eot", 1))
        loss = getattr(self.attack, "loss", CrossEntropy())
        for number, path in enumerate(self.paths):
            if not len(rows := query.left()):
                break
            along = replace(task, model=view(task.model, gradient=path), memory=Memory(recall, remembered))
            found = self.attack.search(along.of(rows).turned(number))
            query.spend(found.gradients, found.forwards, rows)
            query.answer(found.x, loss, rows=rows)
        return Outcome(query.slots.found, query.slots.gradients, query.slots.forwards)


def followed(model: nn.Module, paths: Iterable[GradientPath]) -> tuple[GradientPath, ...]:
    """Those of `paths` that the model's neurons can follow; none where it has no spiking ones."""
    return tuple(path for path in paths if can_follow(model, path)) if has_spikes(model) else ()

"""Which images do attacks break that are run for the flags' sake? Each is run once, when a check asks for it."""

import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from spikeproof.attacks import (
    APGD,
    FGSM,
    PGD,
    SCG,
    Attack,
    Margin,
    Square,
    SteepestRetiming,
    Threat,
    TwinTransfer,
    UniformNoise,
)
from spikeproof.configs import to_config
from spikeproof.distributed import ALONE, Ranks
from spikeproof.evaluation.flags.statistics import share
from spikeproof.evaluation.judging import Judge
from spikeproof.randomness import seed_from
from spikeproof.runs.attack_names import attack_name
from spikeproof.snn import GradientPath, SpikingNetwork, has_spikes

Asked = TypeVar("Asked")
STEPS = (10, 50, 100, 500)  # few, more, usual, most


class Tools(NamedTuple):
    """The attacks of the checks under threats of one kind.

    `climb`, given `steps` and `restarts`, follows gradients. `control` sees none; neither does `twin`, given steps:
    it attacks the ANN twin. `unbounded` breaks everything under the largest threat; None where nothing has to.
    """

    one_step: Attack
    climb: Callable[..., Attack]
    control: Attack
    twin: Callable[[int], Attack] | None = None
    unbounded: Attack | None = None


PIXELS = Tools(
    FGSM(),
    APGD,
    Square(queries=1000, proposals=8),
    lambda steps: TwinTransfer(attack=APGD(steps=steps)),
    PGD(steps=50, loss=Margin(), restarts=2),
)
TOOLS = {
    "images": PIXELS,
    "frames": PIXELS,
    "events": Tools(SCG(steps=1), SCG, UniformNoise(draws=100)),
    "retiming": Tools(SteepestRetiming(steps=1), SteepestRetiming, UniformNoise(draws=100)),
}


def name_of(attack: Attack) -> str:
    """What the field calls the attack: APGD-CE-10."""
    return attack_name(to_config(attack))


class Tried(NamedTuple):
    """An attack by its label, and which images ``[B]`` it breaks."""

    label: str
    broken: Tensor

    @property
    def share(self) -> float:
        return share(self.broken)


class Trials:
    """Attacks on images `x` ``[B, C, H, W]`` that are classified right.

    `broken` ``[B]`` says which of them the suite's attacks with gradients break, `index` ``[B]`` their numbers in their
    data set. `paths` are the gradient paths that are attacked beside the network's own. `gradients` and `forwards`
    count what has been spent so far, on all images together. The images are dealt to `ranks`. `tell` hears which attack
    is run, and how far it is.
    """

    def __init__(
        self,
        judge: Judge,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        broken: Tensor,
        *,
        batch: int = 256,
        seed: int = 0,
        index: Tensor | None = None,
        ranks: Ranks = ALONE,
        paths: Sequence[GradientPath] = (),
        tell: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.tell = tell
        self.judge, self.threat = judge, threat
        self.x, self.y, self.broken = x, y, broken
        self.batch, self.seed, self.ranks = batch, seed, ranks
        self.index = torch.arange(len(x)) if index is None else index
        self.paths = paths
        self.tools = TOOLS[threat.kind]
        self.few, _, self.usual, self.most = self.steps = STEPS
        self.gradients = self.forwards = 0
        self._asked: dict[str, Any] = {}
        self._known: dict[tuple[Attack, Threat, int | None], Tensor] = {}
        self._returned: dict[Attack, tuple[Tensor, Tensor | None]] = {}

    def once(self, name: str, ask: Callable[[], Asked]) -> Asked:
        """What `ask` returns; several checks that want what has this name share one call."""
        if name not in self._asked:
            self._asked[name] = ask()
        found: Asked = self._asked[name]
        return found

    def broken_by(self, attack: Attack, threat: Threat | None = None, draws: int | None = None) -> Tensor:
        """Which images ``[B]`` the attack breaks, its gradients being means over `draws` passes if given.

        The random numbers depend on nothing but the attack, so that it does not matter which other checks are made.
        """
        asked = (attack, threat or self.threat, draws)
        if asked not in self._known:
            number = zlib.crc32(repr(asked).encode())
            (self._known[asked],) = self.shared(lambda rows: (self._judged(*asked, number, rows),), attack)
        return self._known[asked]

    def _judged(self, attack: Attack, threat: Threat, draws: int | None, number: int, rows: Tensor) -> Tensor:
        x, y, index = self.x[rows], self.y[rows], self.index[rows]
        tell = self._telling(attack)
        judged = self.judge(attack, x, y, threat, seed_from(self.seed, number), index, draws, tell)
        self.spend(judged.gradients, judged.forwards)
        return judged.broken

    def shared(self, compute: Callable[[Tensor], tuple[Tensor, ...]], attack: Attack | None = None) -> list[Tensor]:
        """What `compute` says of rows ``[b]``, tensors with a row each, of all images: they are dealt to the ranks.

        Batches stay whole where noise, a path or the `attack` depends on them. What was spent is added up.
        """
        spent = self.gradients, self.forwards
        whole = self.judge.by_batch(*self.paths, *([attack] if attack else []))
        mine = self.ranks.dealt(torch.arange(len(self.x)), self.batch, whole=whole)
        found = [(rows, tuple(part.cpu() for part in compute(rows))) for rows in mine]
        costs = self.gradients - spent[0], self.forwards - spent[1]
        gathered = self.ranks.gather((found, costs))
        self.gradients = spent[0] + sum(gradients for _, (gradients, _) in gathered)
        self.forwards = spent[1] + sum(forwards for _, (_, forwards) in gathered)
        parts = list(chain.from_iterable(found for found, _ in gathered))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        return [torch.cat(column)[order] for column in zip(*(tensors for _, tensors in parts), strict=True)]

    def spend(self, gradients: Tensor, forwards: Tensor) -> None:
        """Count evaluations of some images ``[b]``."""
        self.gradients += int(gradients.sum())
        self.forwards += int(forwards.sum())

    def returned(self, attack: Attack) -> tuple[Tensor, Tensor | None]:
        """The images ``[B, C, H, W]`` that the attack returns, inside the threat, and which ``[B]`` it takes for broken
        (None where it does not know). It is run once: `broken_by` then knows what it breaks.
        """
        if attack not in self._returned:
            asked = (attack, self.threat, None)
            number = zlib.crc32(repr(asked).encode())
            self._known[asked], z, *believed = self.shared(lambda rows: self._outcome(attack, number, rows), attack)
            self._returned[attack] = (z.to(self.x.device), believed[0] if believed else None)
        return self._returned[attack]

    def _outcome(self, attack: Attack, number: int, rows: Tensor) -> tuple[Tensor, ...]:
        """Which images are broken, these images, and, where it is known, which the attack takes for broken."""
        x, y, index, seed = self.x[rows], self.y[rows], self.index[rows], seed_from(self.seed, number)
        found = self.judge.attack(attack, x, y, self.threat, seed, index, tell=self._telling(attack))
        judged = self.judge.judged(found, attack, x, y, self.threat, seed, index)
        self.spend(judged.gradients, judged.forwards)
        believed = () if found.broken is None else (found.broken,)
        return judged.broken, self.threat.project(found.x, x), *believed

    def _telling(self, attack: Attack) -> Callable[[float], None]:
        """What is called with the share of the attack's steps that is done."""
        name = name_of(attack)
        self.tell(name)
        return lambda share: self.tell(f"{name}, {share:.0%}")

    def alone_on(self, attack: Attack, rows: Tensor) -> Tensor:
        """Which images ``[B]`` the attack breaks, of the `rows` ``[B]`` alone."""
        broken = torch.zeros(len(self.x), dtype=torch.bool)
        if rows.any():
            number = zlib.crc32(repr(attack).encode())
            broken[rows] = self._judged(attack, self.threat, None, number, rows.nonzero().squeeze(1))
        return broken

    def noise(self) -> Tried:
        return Tried("10 random samples", self.broken_by(UniformNoise(draws=10)))

    def one_step(self) -> Tried:
        return self.tried(self.tools.one_step)

    def climb(self, steps: int) -> Tried:
        return self.tried(self.tools.climb(steps=steps))

    def tried(self, attack: Attack) -> Tried:
        """What the attack breaks, under its name in the field."""
        return Tried(name_of(attack), self.broken_by(attack))

    def curve(self) -> list[Tried]:
        """The climb with more and more steps."""
        return [self.climb(steps) for steps in self.steps]

    @cached_property
    def by_gradients(self) -> Tensor:
        """Which images ``[B]`` an attack with gradients breaks: one of the suite's, or the longest climb."""
        return self.broken | self.climb(self.most).broken

    def alone(self) -> list[Tried]:
        """What each black-box control breaks and no attack with gradients does."""
        found = [Tried(f"{name_of(self.tools.control)} alone", self.broken_by(self.tools.control) & ~self.by_gradients)]
        model = self.judge.model
        if self.tools.twin and has_spikes(model) and any(isinstance(part, SpikingNetwork) for part in model.modules()):
            found.append(Tried("ANN twin alone", self.broken_by(self.tools.twin(self.usual)) & ~self.by_gradients))
        return found

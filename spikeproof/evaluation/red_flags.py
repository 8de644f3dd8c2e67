"""Can a robust accuracy be believed? Red flags: what an evaluation would look like if its attacks were blind.

Some are about the network, whatever is attacked; others run attacks that must not win, or must win, on some of the
images; and one looks at what the suite itself found. A flag that spoils makes the number untrustworthy: the verdict is
then `unreliable`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

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
from spikeproof.attacks.adaptive import followed
from spikeproof.attacks.attack import Query, as_evaluated
from spikeproof.evaluation.judging import Judge
from spikeproof.evaluation.predictions import checked_logits
from spikeproof.randomness import seed_from, seeded
from spikeproof.runs.upgrades import FLAGS
from spikeproof.snn import GradientPath, Recording, Slope, SpikingNetwork, attack_view, has_spikes, record, view
from spikeproof.specs import short

__all__ = ["Flag"]

CHANGED = 1e-3  # a relative change of logits that rounding alone does not explain
CHECKED = 64  # images for the flags that need no attack
STEPS = (10, 50, 100, 500)
LUCK = 2  # images that raise no flag, whatever the threshold
SIGNIFICANT = 0.01


@dataclass(frozen=True)
class Flag:
    """A check: its number, the threshold beyond which it is raised, and what that would mean.

    `spoils`: a raised flag makes the robust accuracy untrustworthy. `details` hold what the number was taken from.
    """

    name: str
    number: float
    threshold: float
    spoils: bool
    meaning: str
    details: dict[str, Any]

    @property
    def key(self) -> str:
        return FLAGS[self.name]

    @property
    def raised(self) -> bool:
        return not self.number <= self.threshold  # NaN is raised

    def said(self) -> str:
        return f"{self.name}: {self.number:.3g} (at most {self.threshold:.3g} is normal). {self.meaning}"

    def summary(self) -> dict[str, Any]:
        number = None if math.isnan(self.number) else self.number  # which JSON does not know
        return asdict(self) | {"number": number, "raised": self.raised}


class Tools(NamedTuple):
    """The attacks that raise flags under threats of one kind: `climb`, given `steps` and `restarts`, follows gradients,
    and `control` sees none. What is `unbounded` breaks everything; where moves are all there is, nothing has to.
    """

    one_step: Attack
    climb: Callable[..., Attack]
    control: Attack
    unbounded: Attack | None = None


PIXELS = Tools(FGSM(), APGD, Square(queries=1000), PGD(steps=50, loss=Margin(), restarts=2))
TOOLS = {
    "images": PIXELS,
    "frames": PIXELS,
    "events": Tools(SCG(steps=1), SCG, UniformNoise(draws=100)),
    "retiming": Tools(SteepestRetiming(steps=1), SteepestRetiming, UniformNoise(draws=100)),
}


def of_network(
    model: nn.Module, x: Tensor, y: Tensor, paths: Sequence[GradientPath], *, batch: int, seed: int
) -> Iterator[Flag]:
    """The flags that need no attack, from the first images of `x` ``[B, C, H, W]`` with labels `y`.

    `paths` are the gradient paths that will be attacked beside the network's own.
    """
    x, y = x[:CHECKED], y[:CHECKED]
    first = x[:batch]
    once = _logits(model, first, batch, seed)
    _logits(model, first.amax() - first, batch, seed)
    again = _logits(model, first, batch, seed)
    stateful = Flag(
        "keeps a state",
        _share_changed(again, once),
        0.0,
        True,
        "The same images with the same random numbers get other logits after another call: something is left over from "
        "it. Reset it in forward.",
        {},
    )
    yield stateful
    if stateful.raised:
        return  # nothing can be asked of it twice
    usual = _logits(model, x, batch, seed)
    if not getattr(model, "stochastic", False):
        random = Flag(
            "undeclared randomness",
            _share_changed(_logits(model, x, batch, seed + 1), usual),
            0.0,
            True,
            "Logits change with the random numbers, and the model does not say so: set stochastic = True, so that "
            "attacks and judgements average over draws.",
            {},
        )
        yield random
    if not (getattr(model, "stochastic", False) or random.raised):  # else they would differ anyway
        alone = torch.cat([_logits(model, one, 1, seed) for one in x[:16].split(1)])
        yield Flag(
            "images of a batch meet",
            _share_changed(alone, usual[:16]),
            0.2,  # of 16 images; a spike at its threshold may flip by rounding
            True,
            "An image's logits depend on the others in its batch: statistics of the batch are in use.",
            {},
        )
    views = along(model, paths)
    changed = {name: _share_changed(_logits(seen, x, batch, seed), usual) for name, seen in views.items()}
    yield Flag(
        "an attack sees other logits",
        max(changed.values()),
        0.05,
        True,
        "What is attacked is not what is evaluated.",
        {name: share for name, share in changed.items() if share},
    )
    yield Flag(
        "zero input gradients",
        _share(blind(views, x, y, batch, seed)),
        0.1,
        True,
        "The gradient of the margin is exactly zero at these images, along every path that is attacked: gradient "
        "attacks see nothing there.",
        {"images": len(x), "paths": len(views)},
    )
    yield from _layers(model, x, batch, seed)


def of_attacks(judge: Judge, x: Tensor, y: Tensor, threat: Threat, broken: Tensor, spent: "Spent") -> Iterator[Flag]:
    """The flags that attacks raise on images `x` that are classified right, `broken` ``[B]`` by the suite's attacks
    with gradients or not. What they cost is added to `spent`.
    """
    few, _, usual, most = STEPS
    images, tools = len(x), TOOLS[threat.kind]
    one, many = short(tools.one_step), tools.climb.__name__

    def by(attack: Attack, within: Threat = threat, draws: int | None = None) -> Tensor:
        return spent.broken_by(judge, attack, x, y, within, draws)

    noise = Tried("10 random images", by(UniformNoise(draws=10)))
    one_step = Tried(one, by(tools.one_step))
    climbs = {steps: Tried(f"{many} {steps}", by(tools.climb(steps=steps))) for steps in STEPS}
    curve = tuple(climbs.values())
    yield compared(
        "one step beats many",
        one_step,
        climbs[few],
        0.03,
        True,
        f"{one} breaks more images than {few} steps of {many}: the gradient leads astray.",
    )
    yield compared(
        "noise beats gradients",
        noise,
        climbs[few],
        0.0,
        True,
        f"Ten random images break more than {few} gradient steps: the gradient carries no information.",
    )
    fewer, more = max(pairwise(curve), key=lambda pair: pair[0].share - pair[1].share)
    yield compared(
        "more steps do not help",
        fewer,
        more,
        0.05,
        True,
        "An attack with more steps breaks fewer images.",
        shown=curve,
    )
    yield compared(
        "steps have not levelled off",
        climbs[most],
        climbs[usual],
        0.08,
        False,
        f"{most} steps break clearly more than {usual}: a longer attack would lower the accuracy further.",
        shown=curve,
    )
    yield compared(
        "restarts have not levelled off",
        Tried(f"{many} {few}, 5 starts", by(tools.climb(steps=few, restarts=5))),
        climbs[usual],
        0.05,
        False,
        f"Five random starts of {few} steps break more than one of {usual}: the start matters more than the climb.",
    )
    if judge.draws > 1:
        yield compared(
            "more draws do not help",
            Tried(f"{many} {few}, 1 draw", by(tools.climb(steps=few), draws=1)),
            Tried(f"{many} {few}, {judge.draws} draws", climbs[few].broken),
            0.05,
            True,
            f"Gradients of one draw break more images than means over {judge.draws}.",
        )
    by_gradients = broken | climbs[most].broken
    control = short(tools.control)
    alone = [Tried(f"{control} alone", by(tools.control) & ~by_gradients)]
    ours = any(isinstance(module, SpikingNetwork) for module in judge.model.modules())
    if tools.climb is APGD and ours and has_spikes(judge.model):
        alone.append(Tried("ANN twin alone", by(TwinTransfer(attack=APGD(steps=usual))) & ~by_gradients))
    yield Flag(
        "black box beats white box",
        _share(torch.stack([control.broken for control in alone]).any(0)),
        limit(0.05, images),
        True,
        f"{control}, which sees no gradient, or the network's ANN twin breaks images that no attack with gradients "
        "breaks.",
        shares(*alone),
    )
    every, default = Tried("all paths", by_gradients), Tried(f"{many} {usual}, default path", climbs[usual].broken)
    yield Flag(
        "default path far from the worst",
        every.share - default.share,
        limit(0.4, images),
        False,
        "The network's own gradients hide what other gradient paths find: a number from that path alone would be far "
        "too high.",
        shares(every, default),
    )
    if tools.unbounded is None:
        return
    unbounded = replace(threat, eps=type(threat).largest)  # type: ignore[type-var]
    yield Flag(
        "holds without a bound",
        1 - _share(by_gradients | by(tools.unbounded, unbounded)),
        limit(0.05, images),
        True,
        f"Some images cannot be broken under {unbounded}, far beyond any radius in use: the attacks are blind.",
        {"images": images},
    )


def of_suite(members: Sequence[Attack], broken_by: Sequence[int]) -> Iterator[Flag]:
    """The flag that the suite's own verdicts raise, `broken_by` member for each image that is classified right."""
    gradients = [number for number, attack in enumerate(members) if attack.white_box]
    controls = range(gradients[-1] + 1, len(members)) if gradients else ()
    if controls and len(broken_by):
        yield Flag(
            "controls found more than gradients",
            sum(number in controls for number in broken_by) / len(broken_by),
            limit(0.05, len(broken_by)),
            False,
            "These images were broken by Square or another control alone, after all attacks with gradients: they are "
            "counted as broken, but there must be stronger gradients, and more such images.",
            {"images": len(broken_by)},
        )


class Tried(NamedTuple):
    """An attack by its label, and which images ``[B]`` it breaks."""

    label: str
    broken: Tensor

    @property
    def share(self) -> float:
        return _share(self.broken)


def compared(
    name: str, one: Tried, other: Tried, least: float, spoils: bool, meaning: str, *, shown: Sequence[Tried] = ()
) -> Flag:
    """The flag that `one` attack raises where it breaks more images than the `other`, by more than chance and `least`.

    Its details are the shares of the two, or of all that are `shown` in their place.
    """
    threshold = by_chance(one.broken, other.broken, least)
    return Flag(name, one.share - other.share, threshold, spoils, meaning, shares(*(shown or (one, other))))


def shares(*tried: Tried) -> dict[str, float]:
    """What each breaks, and of how many images."""
    return {attack.label: attack.share for attack in tried} | {"images": len(tried[0].broken)}


def limit(least: float, images: int) -> float:
    """`least`, or more where that is no more than `LUCK` of the images."""
    return max(least, (LUCK + 0.5) / images)


def by_chance(one: Tensor, other: Tensor, least: float) -> float:
    """By how much the share of images that one attack breaks may exceed another's, starts and noise being random.

    That is `least`, or more where the images that only one of the two breaks are too few for a sign test at 1 %.
    """
    differing = int((one ^ other).sum())
    tail = [sum(math.comb(differing, k) for k in range(wins, differing + 1)) for wins in range(differing + 2)]
    enough = next(wins for wins, count in enumerate(tail) if count < SIGNIFICANT * 2**differing)
    return max(least, (2 * enough - differing - 0.5) / len(one))


class Spent:
    """What the flags cost: evaluations of gradients and of the network, of all images together."""

    def __init__(self, batch: int, seed: int) -> None:
        self.batch = batch
        self.seed = seed
        self.asked = self.gradients = self.forwards = 0

    def broken_by(
        self, judge: Judge, attack: Attack, x: Tensor, y: Tensor, threat: Threat, draws: int | None
    ) -> Tensor:
        """Which images ``[B]`` the attack breaks."""
        broken = []
        for part, labels in zip(x.split(self.batch), y.split(self.batch), strict=True):
            self.asked += 1
            found = judge(attack, part, labels, threat, seed_from(self.seed, self.asked), draws)
            broken.append(found.broken)
            self.gradients += int(found.gradients.sum())
            self.forwards += int(found.forwards.sum())
        return torch.cat(broken)


def along(model: nn.Module, paths: Sequence[GradientPath]) -> dict[str, nn.Module]:
    """The network as it is attacked: along its own path, and along each other that its neurons can follow."""
    attacked = attack_view(model)
    others = {short(path): view(attacked, gradient=path) for path in followed(attacked, paths)}
    return {"its own path": attacked} | others


def blind(views: dict[str, nn.Module], x: Tensor, y: Tensor, batch: int, seed: int) -> Tensor:
    """Whether the margin's gradient at each image is exactly zero along every path ``[B]``.

    The margin's, unlike that of cross-entropy, does not vanish where a network is merely sure. A path is asked only
    about the images at which it is zero along all before it.
    """
    zero = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for seen in views.values():
        if not zero.any():
            break
        with seeded(seed, x.device), as_evaluated(seen):
            for who in zero.nonzero().squeeze(1).split(batch):
                query = Query(seen, len(who), x.device, stop=False)
                slope, _ = query.gradient(x[who], y[who], Margin(), torch.arange(len(who), device=x.device))
                zero[who] = (slope == 0).flatten(1).all(1)
    return zero


def _layers(model: nn.Module, x: Tensor, batch: int, seed: int) -> Iterator[Flag]:
    """What the spiking layers look like; nothing for a network without any."""
    ever: dict[str, Tensor] = {}  # by layer: which neurons fire at some step of some image
    always: dict[str, Tensor] = {}  # and which at every step of every image
    inside: dict[str, float] = {}  # the shares of potentials inside the slope's window, summed over images
    with torch.no_grad(), seeded(seed, x.device), as_evaluated(model), record(model) as seen:
        for part in x.split(batch):
            model(part.clone())
            for name, spikes in seen.spikes.items():
                fired = spikes.flatten(2) != 0
                ever[name] = fired.any(0).any(0) | ever.get(name, False)
                always[name] = fired.all(0).all(0) & always.get(name, True)
                if isinstance(slope := seen.layers[name].gradient, Slope):
                    inside[name] = inside.get(name, 0.0) + len(part) * _share_inside(slope, seen, name)
    if not ever:
        return
    dead = {name: 1 - _share(fires) for name, fires in ever.items()}
    saturated = {name: _share(fires) for name, fires in always.items()}
    outside = {name: 1 - shares / len(x) for name, shares in inside.items()}
    yield Flag(
        "a dead layer",
        max(dead.values()),
        0.99,
        False,
        "Nearly all neurons of a layer never fire, on any image.",
        dead,
    )
    yield Flag(
        "a saturated layer",
        max(saturated.values()),
        0.5,
        False,
        "Most neurons of a layer fire at every step of every image: they pass nothing on.",
        saturated,
    )
    if outside:
        yield Flag(
            "potentials outside the slope's window",
            max(outside.values()),
            0.9,
            False,
            "Nearly all potentials of a layer lie where the surrogate slope has vanished, so that hardly any gradient "
            "passes; other gradient paths have to be attacked.",
            outside,
        )


def _share_inside(slope: Slope, seen: Recording, name: str) -> float:
    """The share of the layer's potentials at which `slope` has not vanished: it is 1 % of its highest at least."""
    u = seen.potentials(name) - seen.layers[name].dynamics().threshold
    highest = slope.derivative(torch.zeros(1, device=u.device))
    return float((slope.derivative(u) >= 0.01 * highest).float().mean(dtype=torch.float64))


def _logits(model: nn.Module, x: Tensor, batch: int, seed: int) -> Tensor:
    with torch.no_grad(), seeded(seed, x.device), as_evaluated(model):
        return torch.cat([checked_logits(model, part) for part in x.split(batch)])


def _share_changed(logits: Tensor, usual: Tensor) -> float:
    """The share of images whose logits differ by more than rounding."""
    size = usual.abs().amax(1).clamp(min=1e-6)
    same = (logits - usual).abs().amax(1) <= CHANGED * size
    return _share(~(same | ~usual.isfinite().all(1)))  # what is NaN already is told elsewhere


def _share(images: Tensor) -> float:
    return float(images.double().mean())

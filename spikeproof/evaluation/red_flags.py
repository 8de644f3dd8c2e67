"""Can a robust accuracy be believed? Red flags: what an evaluation would look like if its attacks were blind.

Some are about the network, whatever is attacked; the others run attacks that must not win, or must win, on some of
the images. A flag that spoils makes the number untrustworthy: the verdict is then `unreliable`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from spikeproof.attacks import APGD, FGSM, PGD, Attack, Margin, Square, Threat, TwinTransfer, UniformNoise
from spikeproof.attacks.adaptive import followed
from spikeproof.attacks.attack import Query, as_evaluated
from spikeproof.evaluation.judging import Judge
from spikeproof.evaluation.predictions import checked_logits
from spikeproof.randomness import seed_from, seeded
from spikeproof.snn import GradientPath, Recording, Slope, SpikingNetwork, attack_view, has_spikes, record, view
from spikeproof.specs import short

__all__ = ["Flag"]

CHANGED = 1e-3  # a relative change of logits that rounding alone does not explain
CHECKED = 64  # images for the flags that need no attack
STEPS = (10, 50, 100, 500)
QUERIES = 1000
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
    def raised(self) -> bool:
        return not self.number <= self.threshold  # NaN is raised

    def said(self) -> str:
        return f"{self.name}: {self.number:.3g} (at most {self.threshold:.3g} is normal). {self.meaning}"

    def summary(self) -> dict[str, Any]:
        number = None if math.isnan(self.number) else self.number  # which JSON does not know
        return asdict(self) | {"number": number, "raised": self.raised}


def of_network(
    model: nn.Module, x: Tensor, y: Tensor, paths: Sequence[GradientPath], *, batch: int, seed: int
) -> Iterator[Flag]:
    """The flags that need no attack, from the first images of `x` ``[B, C, H, W]`` with labels `y`.

    `paths` are the gradient paths that will be attacked beside the network's own.
    """
    x, y = x[:CHECKED], y[:CHECKED]
    first = x[:batch]
    once = _logits(model, first, batch, seed)
    _logits(model, 1 - first, batch, seed)
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
    images = len(x)

    def by(attack: Attack, within: Threat = threat, draws: int | None = None) -> Tensor:
        return spent.broken_by(judge, attack, x, y, within, draws)

    def limit(least: float) -> float:
        return max(least, (LUCK + 0.5) / images)

    noise, one = by(UniformNoise(draws=10)), by(FGSM())
    by_steps = {steps: by(APGD(steps=steps)) for steps in STEPS}
    shares = {steps: _share(found) for steps, found in by_steps.items()}
    curve = {f"APGD {steps}": found for steps, found in shares.items()} | {"images": images}
    yield Flag(
        "one step beats many",
        _share(one) - shares[few],
        by_chance(one, by_steps[few], 0.03),
        True,
        f"FGSM breaks more images than {few} steps of APGD: the gradient leads astray.",
        {"FGSM": _share(one), f"APGD {few}": shares[few], "images": images},
    )
    yield Flag(
        "noise beats gradients",
        _share(noise) - shares[few],
        by_chance(noise, by_steps[few], 0.0),
        True,
        f"Ten random images break more than {few} gradient steps: the gradient carries no information.",
        {"10 random images": _share(noise), f"APGD {few}": shares[few], "images": images},
    )
    fewer, more = max(pairwise(STEPS), key=lambda steps: shares[steps[0]] - shares[steps[1]])
    yield Flag(
        "more steps do not help",
        shares[fewer] - shares[more],
        by_chance(by_steps[fewer], by_steps[more], 0.05),
        True,
        "An attack with more steps breaks fewer images.",
        curve,
    )
    yield Flag(
        "steps have not levelled off",
        shares[most] - shares[usual],
        by_chance(by_steps[most], by_steps[usual], 0.08),
        False,
        f"{most} steps break clearly more than {usual}: a longer attack would lower the accuracy further.",
        curve,
    )
    starts = by(APGD(steps=few, restarts=5))
    yield Flag(
        "restarts have not levelled off",
        _share(starts) - shares[usual],
        by_chance(starts, by_steps[usual], 0.05),
        False,
        f"Five random starts of {few} steps break more than one of {usual}: the start matters more than the climb.",
        {f"APGD {few}, 5 starts": _share(starts), f"APGD {usual}": shares[usual], "images": images},
    )
    if judge.draws > 1:
        alone = by(APGD(steps=few), draws=1)
        yield Flag(
            "more draws do not help",
            _share(alone) - shares[few],
            by_chance(alone, by_steps[few], 0.05),
            True,
            f"Gradients of one draw break more images than means over {judge.draws}.",
            {f"APGD {few}, 1 draw": _share(alone), f"APGD {few}, {judge.draws} draws": shares[few], "images": images},
        )
    by_gradients = broken | by_steps[most]
    found = {"Square": by(Square(queries=QUERIES)) & ~by_gradients}
    if any(isinstance(module, SpikingNetwork) for module in judge.model.modules()) and has_spikes(judge.model):
        found["ANN twin"] = by(TwinTransfer(attack=APGD(steps=usual))) & ~by_gradients
    yield Flag(
        "black box beats white box",
        _share(torch.stack(list(found.values())).any(0)),
        limit(0.05),
        True,
        f"Square, which sees scores alone ({QUERIES:,} queries), or the network's ANN twin breaks images that no "
        "attack with gradients breaks.",
        {f"{name} alone": _share(these) for name, these in found.items()} | {"images": images},
    )
    yield Flag(
        "default path far from the worst",
        _share(by_gradients) - shares[usual],
        limit(0.4),
        False,
        "The network's own gradients hide what other gradient paths find: a number from that path alone would be far "
        "too high.",
        {"all paths": _share(by_gradients), f"APGD {usual}, default path": shares[usual], "images": images},
    )
    unbounded = replace(threat, eps=type(threat).largest)  # type: ignore[type-var]
    yield Flag(
        "holds without a bound",
        1 - _share(by_gradients | by(PGD(steps=50, loss=Margin(), restarts=2), unbounded)),
        limit(0.05),
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
            max(0.05, (LUCK + 0.5) / len(broken_by)),
            False,
            "These images were broken by Square or another control alone, after all attacks with gradients: they are "
            "counted as broken, but there must be stronger gradients, and more such images.",
            {"images": len(broken_by)},
        )


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

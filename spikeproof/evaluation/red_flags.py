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

from spikeproof.attacks import APGD, FGSM, PGD, Attack, Margin, Square, Threat, UniformNoise
from spikeproof.attacks.attack import Query, as_evaluated
from spikeproof.evaluation.predictions import predict
from spikeproof.randomness import seeded
from spikeproof.snn import GradientPath, Slope, attack_view, can_follow, record, view
from spikeproof.specs import short

__all__ = ["Flag"]

CHANGED = 1e-3  # a relative change of logits that rounding alone does not explain
LOOKED_AT = 64  # images for what needs no attack
STEPS = (10, 50, 100, 500)
QUERIES = 1000


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
    x, y = x[:LOOKED_AT], y[:LOOKED_AT]
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
        yield Flag(
            "undeclared randomness",
            _share_changed(_logits(model, x, batch, seed + 1), usual),
            0.0,
            True,
            "Logits change with the random numbers, and the model does not say so: set stochastic = True, so that "
            "attacks and judgements average over draws.",
            {},
        )
        alone = torch.cat([_logits(model, one, 1, seed) for one in x[:16].split(1)])
        yield Flag(
            "images of a batch meet",
            _share_changed(alone, usual[:16]),
            0.2,  # of 16 images; a spike at its threshold may flip by rounding
            True,
            "An image's logits depend on the others in its batch: statistics of the batch are in use.",
            {},
        )
    attacked = attack_view(model)
    views = {"its own path": attacked} | {
        short(path): view(attacked, gradient=path) for path in paths if can_follow(attacked, path)
    }
    changed = {name: _share_changed(_logits(seen, x, batch, seed), usual) for name, seen in views.items()}
    yield Flag(
        "an attack sees other logits",
        max(changed.values()),
        0.05,
        True,
        "What is attacked is not what is evaluated.",
        {name: share for name, share in changed.items() if share},
    )
    yield _gradients(list(views.values()), x, y, batch, seed)
    yield from _layers(model, x, batch, seed)


def of_attacks(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    broken: Tensor,
    *,
    batch: int,
    draws: int,
    seed: int,
) -> Iterator[Flag]:
    """The flags that attacks raise on images `x` that are classified right, `broken` ``[B]`` by the suite's attacks
    with gradients or not."""
    ask = _Asked(model, x, y, batch, draws, seed)
    few, _, usual, most = STEPS
    noise = ask.broken_by(UniformNoise(draws=10), threat)
    one = ask.broken_by(FGSM(), threat)
    by_steps = {steps: ask.broken_by(APGD(steps=steps), threat) for steps in STEPS}
    shares = {steps: _share(found) for steps, found in by_steps.items()}
    curve = {f"APGD {steps}": share for steps, share in shares.items()}
    yield Flag(
        "one step beats many",
        _share(one) - shares[few],
        0.03,
        True,
        f"FGSM breaks more images than {few} steps of APGD: the gradient leads astray.",
        {"FGSM": _share(one), f"APGD {few}": shares[few]},
    )
    yield Flag(
        "noise beats gradients",
        _share(noise) - shares[few],
        0.0,
        True,
        f"Ten random images break more than {few} gradient steps: the gradient carries no information.",
        {"10 random images": _share(noise), f"APGD {few}": shares[few]},
    )
    yield Flag(
        "more steps do not help",
        max(shares[fewer] - shares[more] for fewer, more in pairwise(STEPS)),
        0.05,
        True,
        "An attack with more steps breaks fewer images.",
        curve,
    )
    yield Flag(
        "steps have not levelled off",
        shares[most] - shares[usual],
        0.08,
        False,
        f"{most} steps break clearly more than {usual}: a longer attack would lower the accuracy further.",
        curve,
    )
    again = _share(by_steps[few] | ask.broken_by(APGD(steps=few, restarts=4), threat))
    yield Flag(
        "restarts have not levelled off",
        again - shares[usual],
        0.05,
        False,
        f"Five random starts of {few} steps break more than one of {usual}: the start matters more than the climb.",
        {f"APGD {few}, 5 starts": again, f"APGD {usual}": shares[usual]},
    )
    if draws > 1:
        alone = _share(_Asked(model, x, y, batch, 1, seed, judged=draws).broken_by(APGD(steps=few), threat))
        yield Flag(
            "more draws do not help",
            alone - shares[few],
            0.05,
            True,
            f"Gradients of one draw break more images than means over {draws}.",
            {f"APGD {few}, 1 draw": alone, f"APGD {few}, {draws} draws": shares[few]},
        )
    by_gradients = broken | by_steps[most]
    black = ask.broken_by(Square(queries=QUERIES), threat) & ~by_gradients
    yield Flag(
        "black box beats white box",
        _share(black),
        0.05,
        True,
        "Square, which sees scores alone, breaks images that no attack with gradients breaks.",
        {"Square alone": _share(black), "queries": QUERIES},
    )
    yield Flag(
        "default path far from the worst",
        _share(by_gradients) - shares[usual],
        0.3,
        False,
        "The network's own gradients hide what other gradient paths find: a number from that path alone would be far "
        "too high.",
        {"all paths": _share(by_gradients), f"APGD {usual}, default path": shares[usual]},
    )
    unbounded = _unbounded(threat, x)
    anywhere = by_gradients | ask.broken_by(PGD(steps=50, loss=Margin(), restarts=2), unbounded)
    yield Flag(
        "holds without a bound",
        1 - _share(anywhere),
        0.05,
        True,
        f"Some images cannot be broken under {unbounded}, which allows nearly any image: the attacks are blind.",
        {},
    )


class _Asked:
    """Which images does an attack break, judged as the evaluation judges?"""

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, batch: int, draws: int, seed: int, judged: int | None = None
    ) -> None:
        self.model, self.x, self.y, self.batch, self.draws, self.seed = model, x, y, batch, draws, seed
        self.judged = judged or draws
        self.attacked = attack_view(model)
        self.gradients = 0

    def broken_by(self, attack: Attack, threat: Threat) -> Tensor:
        found = []
        stop = self.judged == 1 and not getattr(self.model, "stochastic", False)
        for x, y in zip(self.x.split(self.batch), self.y.split(self.batch), strict=True):
            outcome = attack.averaging(self.draws).run(self.attacked, x, y, threat, seed=self.seed, stop=stop)
            logits = predict(self.model, threat.project(outcome.x, x), batch=len(x), draws=self.judged, seed=self.seed)
            found.append(logits.argmax(1) != y.cpu())
        return torch.cat(found)


def _unbounded(threat: Threat, x: Tensor) -> Threat:
    """The threat grown until it holds every image there is, or as far as its kind allows."""
    size = x[0].numel()
    everything = {"Linf": 1.0, "L2": size**0.5, "L1": float(size)}[type(threat).__name__]
    return replace(threat, eps=min(everything, type(threat).largest))  # type: ignore[type-var, attr-defined]


def _gradients(views: list[nn.Module], x: Tensor, y: Tensor, batch: int, seed: int) -> Flag:
    zero = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for seen in views:
        with seeded(seed, x.device), as_evaluated(seen):
            for who in torch.arange(len(x), device=x.device).split(batch):
                query = Query(seen, len(who), x.device, stop=False)
                slope, _ = query.gradient(x[who], y[who], Margin(), torch.arange(len(who), device=x.device))
                zero[who] &= (slope == 0).flatten(1).all(1)
    return Flag(
        "zero input gradients",
        _share(zero),
        0.1,
        True,
        "The gradient of the margin is exactly zero at these images, along every path that is attacked: gradient "
        "attacks see nothing there.",
        {"images": len(x), "paths": len(views)},
    )


def _layers(model: nn.Module, x: Tensor, batch: int, seed: int) -> Iterator[Flag]:
    """What the spiking layers look like; nothing for a network without any."""
    seen: dict[str, dict[str, Tensor]] = {}
    with torch.no_grad(), seeded(seed, x.device), as_evaluated(model), record(model) as inside:
        for part in x.split(batch):
            model(part.clone())
            for name, spikes in inside.spikes.items():
                fired = spikes.flatten(2) != 0
                here = {"ever": fired.any(0).any(0), "always": fired.all(0).all(0)}
                if isinstance(slope := inside.layers[name].gradient, Slope):
                    u = inside.potentials(name) - inside.layers[name].dynamics().threshold
                    highest = slope.derivative(torch.zeros(1, device=u.device))
                    here["window"] = (slope.derivative(u) >= 0.01 * highest).float().mean(dtype=torch.float64)
                kept = seen.setdefault(name, here)
                kept["ever"], kept["always"] = kept["ever"] | here["ever"], kept["always"] & here["always"]
    if not seen:
        return
    dead = {name: 1 - _share(layer["ever"]) for name, layer in seen.items()}
    saturated = {name: _share(layer["always"]) for name, layer in seen.items()}
    outside = {name: 1 - float(layer["window"]) for name, layer in seen.items() if "window" in layer}
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


def _logits(model: nn.Module, x: Tensor, batch: int, seed: int) -> Tensor:
    with torch.no_grad(), seeded(seed, x.device), as_evaluated(model):
        return torch.cat([model(part.clone()) for part in x.split(batch)])


def _share_changed(logits: Tensor, usual: Tensor) -> float:
    """The share of images whose logits differ by more than rounding."""
    size = usual.abs().amax(1).clamp(min=1e-6)
    return float(((logits - usual).abs().amax(1) > CHANGED * size).float().mean())


def _share(images: Tensor) -> float:
    return float(images.double().mean())

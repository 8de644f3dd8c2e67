"""Do attacks behave as they must where gradients tell the truth? More effort helps, and gradients beat blind search.

A network that breaks these rules masks its gradients, or the attacks are too short.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from spikeproof.attacks import Margin
from spikeproof.evaluation.flags.flag import Measured, check
from spikeproof.evaluation.flags.statistics import FOUND_FIRST, beyond, by_chance, limit, share
from spikeproof.evaluation.flags.trials import Trials, Tried, name_of

RESTARTS = 5


@check(
    Trials,
    key="one-step-beats-many",
    name="one step beats many",
    threshold=0.03,
    spoils=True,
    number="success of FGSM less that of APGD-10",
    meaning="One step breaks more samples than a climb of many: the gradient leads astray.",
)
def one_step_beats_many(trials: Trials) -> Measured:
    return compared(trials.one_step(), trials.climb(trials.few))


@check(
    Trials,
    key="noise-beats-gradients",
    name="noise beats gradients",
    threshold=0.0,
    spoils=True,
    number="success of 10 random images less that of APGD-10",
    meaning="Ten random samples break more than a short climb: the gradient carries no information.",
)
def noise_beats_gradients(trials: Trials) -> Measured:
    return compared(trials.noise(), trials.climb(trials.few))


@check(
    Trials,
    key="steps-do-not-help",
    name="more steps do not help",
    threshold=0.05,
    spoils=True,
    number="the largest fall of success over 10, 50, 100, 500 steps of APGD",
    meaning="An attack with more steps breaks fewer samples.",
)
def steps_do_not_help(trials: Trials) -> Measured:
    curve = trials.curve()
    fewer, more = max(pairwise(curve), key=lambda pair: pair[0].share - pair[1].share)
    return along_steps(trials, compared(fewer, more, shown=curve))


@check(
    Trials,
    key="steps-not-levelled-off",
    name="steps have not levelled off",
    threshold=0.08,
    spoils=False,
    number="success of 500 steps less that of 100",
    meaning="The longest climb breaks clearly more than the usual one: still more steps would lower the accuracy "
    "further.",
)
def steps_not_levelled_off(trials: Trials) -> Measured:
    curve = trials.curve()
    return along_steps(trials, compared(trials.climb(trials.most), trials.climb(trials.usual), shown=curve))


@check(
    Trials,
    key="restarts-not-levelled-off",
    name="restarts have not levelled off",
    threshold=0.05,
    spoils=False,
    number="success of 5 starts of 10 steps less that of one of 100",
    meaning="Five starts of a short climb break more than one long climb: the start matters more than the steps.",
)
def restarts_not_levelled_off(trials: Trials) -> Measured:
    many = trials.tried(trials.tools.climb(steps=trials.few, restarts=RESTARTS))
    return compared(many, trials.climb(trials.usual))


@check(
    Trials,
    key="draws-do-not-help",
    name="more draws do not help",
    threshold=0.05,
    spoils=True,
    number="success with gradients of one draw less that with averaged ones (stochastic networks)",
    meaning="Gradients of one draw break more samples than means over several.",
)
def draws_do_not_help(trials: Trials) -> Measured | None:
    if (draws := trials.judge.draws) == 1:
        return None
    climb = trials.tools.climb(steps=trials.few)
    one = Tried(f"{name_of(climb)}, 1 draw", trials.broken_by(climb, draws=1))
    return compared(one, Tried(f"{name_of(climb)}, {draws} draws", trials.broken_by(climb)))


@check(
    Trials,
    key="black-box-beats-white-box",
    name="black box beats white box",
    threshold=FOUND_FIRST,
    spoils=True,
    number="share that Square (1,000 queries) or the ANN twin breaks and no attack with gradients does",
    meaning="A black-box control, which sees no gradient, breaks samples that no white-box attack breaks: the "
    "gradients are masked.",
)
def black_box_beats_white_box(trials: Trials) -> Measured:
    alone = trials.alone()
    return Measured(
        number=share(torch.stack([control.broken for control in alone]).any(0)),
        details=shares(*alone),
        chance=beyond(FOUND_FIRST, len(trials.x)),
        ran=f"Controls: {' and '.join(control.label.removesuffix(' alone') for control in alone)}.",
    )


@check(
    Trials,
    key="default-path-far-from-worst",
    name="default path far from the worst",
    threshold=0.4,
    spoils=False,
    number="success along all paths less that of APGD-100, on cross-entropy and on the margin, along the network's own",
    meaning="The network's own surrogate gradients hide what other gradient paths find. A number from that path alone "
    "would be far too high.",
)
def default_path_far_from_worst(trials: Trials) -> Measured:
    # cross-entropy alone is blind where the network is very sure, along any path
    climbs = [trials.climb(trials.usual), trials.tried(trials.tools.climb(steps=trials.usual, loss=Margin()))]
    names = " and ".join(dict.fromkeys(climb.label for climb in climbs))
    default = Tried(f"{names}, default path", torch.stack([climb.broken for climb in climbs]).any(0))
    every = Tried("all paths", trials.by_gradients)
    return Measured(number=every.share - default.share, details=shares(every, default), chance=limit(len(trials.x)))


@check(
    Trials,
    key="holds-without-a-bound",
    name="holds without a bound",
    threshold=0.05,
    spoils=True,
    number="share that survives PGD within the largest radius there is (Linf 1, L2 10, L1 1000)",
    meaning="Some samples cannot be broken far beyond any radius in use: the attacks are blind.",
)
def holds_without_a_bound(trials: Trials) -> Measured | None:
    if (attack := trials.tools.unbounded) is None:
        return None
    unbounded = replace(trials.threat, eps=type(trials.threat).largest)  # type: ignore[type-var]
    return Measured(
        number=1 - share(trials.by_gradients | trials.broken_by(attack, unbounded)),
        details={"samples": len(trials.x)},
        chance=limit(len(trials.x)),
        ran=f"Tried: {name_of(attack)} under {unbounded}.",
    )


def compared(one: Tried, other: Tried, *, shown: Sequence[Tried] = ()) -> Measured:
    """By how much `one` attack breaks more images than the `other`, and how much of that is chance.

    The details are the shares of the two, or of all that are `shown` in their place.
    """
    return Measured(
        number=one.share - other.share,
        details=shares(*(shown or (one, other))),
        chance=by_chance(one.broken, other.broken),
        ran=f"Compared: {one.label}, against {other.label}.",
    )


def along_steps(trials: Trials, found: Measured) -> Measured:
    """What was found, its details the shares along the curve, and beside them the numbers of steps in that order."""
    return replace(found, details=found.details | {"steps": list(trials.steps)})


def shares(*tried: Tried) -> dict[str, float]:
    """What each breaks, and of how many images."""
    return {attack.label: attack.share for attack in tried} | {"samples": len(tried[0].broken)}

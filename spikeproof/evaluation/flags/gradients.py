"""Do gradients tell the truth about the network? What they promise is compared with what it answers."""

import math

import torch

from spikeproof.attacks import HopSkipJump
from spikeproof.calling import is_stochastic, predict
from spikeproof.evaluation.flags.flag import Measured, check
from spikeproof.evaluation.flags.inspection import fixed_shape_logits, share_changed
from spikeproof.evaluation.flags.locating import located
from spikeproof.evaluation.flags.statistics import beyond, limit, share
from spikeproof.evaluation.flags.surroundings import probed, probed_from, rising
from spikeproof.evaluation.flags.trials import Trials

DISPLACED = 0.5
FEWEST = 8  # images whose mean ratio says anything
SILENT = 0.5  # of the images: from so many without information in their scores on, labels alone are tried
LABELS = HopSkipJump(steps=20, draws=50)  # some 2 700 decisions an image


@check(
    Trials,
    key="gradient-misleads",
    name="the gradient does not predict the network",
    threshold=0.42,  # 0.5 where a gradient says nothing; latency codes, whose gradient is coarse, reach 0.34
    spoils=True,
    number="share of random steps (eps/4, eps/2, eps; 7 an image) that lead as far as those along the gradient, the "
    "best path, where anything changes: of the margin, of the own class's score or of its rival's, the largest",
    meaning="A step along the gradient leads no further than steps at random: the gradient is not that of the network.",
    cheap=True,
)
def gradient_misleads(trials: Trials) -> Measured | None:
    found = {name: probe for name, probe in (probed(trials) or {}).items() if probe.moved.any()}
    if not found:
        return None
    images = {name: int(probe.moved.sum()) for name, probe in found.items()}
    shares = {name: float(probe.outdone[probe.moved].mean()) for name, probe in found.items()}
    worst = max(shares, key=lambda name: shares[name] - limit(images[name]))
    return Measured(number=shares[worst], details={"samples": images[worst]} | shares, chance=limit(images[worst]))


@check(
    Trials,
    key="gradient-turned",
    name="the gradient leads the wrong way",
    threshold=0.25,
    spoils=True,
    number="share of images at which each of 7 random directions leads further than the gradient, the best path: at a "
    "random place, or where a short climb has ended in vain",
    meaning="At some samples every random direction leads further than the gradient does: there it is turned away from "
    "where the network breaks.",
    cheap=True,
)
def gradient_turned(trials: Trials) -> Measured | None:
    if (probes := probed(trials)) is None:
        return None
    probe = probes["margin"]
    climb = trials.tools.climb(steps=trials.few)
    z, _ = trials.returned(climb)
    ended = probed_from(trials, z, ("margin",))["margin"]
    places = {"at random": (probe, probe.moved), "after a climb": (ended, ended.moved & ~trials.broken_by(climb))}
    found = {
        where: (share(seen.turned[those]), int(those.sum())) for where, (seen, those) in places.items() if those.any()
    }
    if not found:
        return None
    number, images = max(found.values(), key=lambda one: one[0] - limit(one[1]))
    shares = {where: number for where, (number, _) in found.items() if number}
    return Measured(number=number, details={"samples": images} | shares, chance=limit(images))


@check(
    Trials,
    key="gradient-displaced",
    name="a displaced gradient leads further",
    threshold=DISPLACED,  # as far at half of the images where a gradient says nothing of where it belongs
    spoils=True,
    number="share of images at which the gradient leads further when it is shifted by a pixel, or mirrored: of six "
    "such copies the best one, the best path",
    meaning="A shifted or mirrored copy of the gradient leads further than the gradient: it lies beside the "
    "values that it belongs to.",
    cheap=True,
)
def gradient_displaced(trials: Trials) -> Measured | None:
    if (found := located(trials)) is None or not found.moved.any():
        return None
    further, images = found.further[found.moved], int(found.moved.sum())
    number = float(further.double().mean(0).amax(1).min())
    return Measured(number=number, details={"samples": images}, chance=beyond(DISPLACED, images))


@check(
    Trials,
    key="gradient-leaves-out",
    name="the gradient leaves out what counts",
    threshold=1.2,  # 1 and what chance adds on 8 images, where a gradient says nothing of what counts
    spoils=True,
    number="by what factor the margin moves more with the quarter of the values whose gradients are smallest than with "
    "that whose gradients are largest (16 random steps of 2 eps each; geometric mean over the images, the best path)",
    meaning="The margin moves more with values that have next to no gradient than with those of the largest gradients: "
    "the gradient leaves out what the network looks at.",
    cheap=True,
)
def gradient_leaves_out(trials: Trials) -> Measured | None:
    if (found := located(trials)) is None or int(found.moved.sum()) < FEWEST:
        return None
    ratios = found.ratios[found.moved]
    return Measured(number=math.exp(float(ratios.mean(0).min())), details={"samples": len(ratios)})


@check(
    Trials,
    key="gradient-wavers",
    name="the gradient wavers",
    threshold=0.8,  # 1 where it has nothing to do with those nearby
    spoils=True,
    number="1 less the mean cosine between the gradient and those at 4 places a tenth of eps away, the best path "
    "(deterministic networks)",
    meaning="A tenth of eps away the gradient points elsewhere: it follows something so fine that no step of an attack "
    "can use it.",
    cheap=True,
)
def gradient_wavers(trials: Trials) -> Measured | None:
    if trials.judge.draws > 1 or is_stochastic(trials.judge.model) or (found := located(trials)) is None:
        return None
    if int(found.moved.sum()) < FEWEST:
        return None
    cosines = found.cosines[found.moved]
    return Measured(number=1 - float(cosines.mean(0).amax()), details={"samples": len(cosines)})


@check(
    Trials,
    key="silent-scores",
    name="scores carry no information",
    threshold=SILENT,
    spoils=False,
    number="share of images with one and the same margin at all of 24 places or more in the threat",
    meaning="The margin is the same wherever one looks: attacks that follow scores are blind. Labels alone are tried.",
    cheap=True,
)
def silent_scores(trials: Trials) -> Measured | None:
    if (silence := _silence(trials)) is None:
        return None
    return Measured(number=silence, details={"samples": len(trials.x)})


def _silence(trials: Trials) -> float | None:
    """The share of images whose margin is the same wherever one looks; None where the threat is no ball."""
    probes = probed(trials)
    return None if probes is None else share(~probes["margin"].moved)


@check(
    Trials,
    key="scores-mislead",
    name="scores do not tell the way to another class",
    threshold=SILENT,
    spoils=True,
    number="share of images whose margin is larger just before another class, on the way to another image, than at the "
    "image",
    meaning="The margin rises toward another class: attacks that follow scores are led away from it. Labels alone are "
    "tried.",
    cheap=True,
)
def scores_mislead(trials: Trials) -> Measured | None:
    if (rises := rising(trials)) is None:
        return None
    return Measured(number=share(rises), details={"samples": len(rises)}, chance=beyond(SILENT, len(rises)))


@check(
    Trials,
    key="labels-beat-gradients",
    name="labels alone beat gradients",
    threshold=0.05,
    spoils=True,
    number="share that HopSkipJump, which sees nothing but labels, breaks and no attack with gradients does (where "
    "scores carry no information, or mislead)",
    meaning="An attack that is told the predicted class alone breaks samples that no attack with gradients breaks.",
    cheap=True,
)
def labels_beat_gradients(trials: Trials) -> Measured | None:
    silence, rises = _silence(trials), rising(trials)
    silent = silence is not None and silence > SILENT
    misled = rises is not None and share(rises) > SILENT
    if not (silent or misled) or not LABELS.knows(trials.threat):
        return None
    broken = trials.alone_on(LABELS, ~trials.broken)
    return Measured(
        number=share(broken),
        details={"samples": len(broken)},
        chance=limit(len(broken)),
        ran=f"Control: {LABELS}.",
    )


@check(
    Trials,
    key="other-logits-under-attack",
    name="an attack's samples get other logits",
    threshold=0.05,
    spoils=True,
    number="share of the images that a short climb returns whose logits differ between the attacked view, with "
    "gradients or without, and a fresh copy of the network",
    meaning="What an attack sees at a sample is not what judges it: the network knows that it is attacked, or it "
    "remembers.",
    cheap=True,
)
def other_logits_under_attack(trials: Trials) -> Measured | None:
    if trials.judge.draws > 1 or is_stochastic(trials.judge.model):
        return None
    z, _ = trials.returned(trials.tools.climb(steps=trials.few))
    judging = predict(trials.judge.fresh(), z)
    changed, width = {}, min(trials.batch, len(z))
    for name, with_gradients in (("with gradients", True), ("without", False)):
        with torch.set_grad_enabled(with_gradients):
            seen = fixed_shape_logits(trials.judge.attacked, z, width, trials.seed)
        changed[name] = share_changed(seen.cpu().to(judging.dtype), judging)
    return Measured(
        number=max(changed.values()),
        details={"samples": len(z)} | {name: number for name, number in changed.items() if number},
        chance=limit(len(z)),
    )


@check(
    Trials,
    key="false-successes",
    name="successes that are none",
    threshold=0.05,
    spoils=True,
    number="share of images that a short climb believed to have broken and the judge does not find so",
    meaning="Attacks stop at samples that they take for broken, and these are judged right: what they see is not what "
    "judges.",
    cheap=True,
)
def false_successes(trials: Trials) -> Measured | None:
    climb = trials.tools.climb(steps=trials.few)
    if not trials.judge.stop or trials.judge.precision != "float32":
        return None
    _, believed = trials.returned(climb)
    if believed is None:
        return None
    broken = trials.broken_by(climb)
    return Measured(number=share(believed & ~broken), details={"samples": len(broken)}, chance=limit(len(broken)))

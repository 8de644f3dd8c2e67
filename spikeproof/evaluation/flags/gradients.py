"""Do gradients tell the truth about the network? What they promise is compared with what it answers."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks import HopSkipJump, Margin
from spikeproof.attacks.query import Answer, Query, Task, per_image
from spikeproof.calling import as_evaluated, in_full_precision, is_stochastic, predict
from spikeproof.evaluation.flags.flag import Measured, check
from spikeproof.evaluation.flags.inspection import OWN, along, fixed_shape_logits, share_changed
from spikeproof.evaluation.flags.statistics import limit, share
from spikeproof.evaluation.flags.trials import Trials
from spikeproof.randomness import Streams, seeded

LENGTHS = (0.25, 0.5, 1.0)  # of the steps away from an image, in units of eps
RANDOM = 7  # directions beside those of the gradients
SAME = 1e-6  # margins nearer to each other than this, in units of the logits, are one
SILENT = 0.5  # of the images: from so many without information in their scores on, labels alone are tried
HALVINGS = 12  # of the way to another class
LABELS = HopSkipJump(steps=20, draws=50)  # some 2 700 decisions an image


class Probe(NamedTuple):
    """The loss (minus the margin) at a place of each image's threat ``[B]``, and steps away from there
    ``[B, directions, lengths]``.

    `along` are directions of gradients, one a path; `beside` are random ones.
    """

    here: Tensor
    along: Tensor
    beside: Tensor
    scale: Tensor  # of the logits ``[B]``

    @property
    def moved(self) -> Tensor:
        """Which images have a margin that changes at all ``[B]``."""
        steps = torch.cat([self.along, self.beside], 1).flatten(1)
        return ((steps - self.here.unsqueeze(1)).abs() > SAME * self.scale.unsqueeze(1)).any(1)

    @property
    def up(self) -> Tensor:
        """How far up the gradient leads, the mean over all lengths ``[B, 1]``; of several gradients the best."""
        return self.along.mean(2).amax(1, keepdim=True)

    @property
    def outdone(self) -> Tensor:
        """The share of random directions that lead as far up as the gradient does ``[B]``."""
        return (self.beside.mean(2) >= self.up).double().mean(1)

    @property
    def turned(self) -> Tensor:
        """Where every random direction leads further up than the gradient does ``[B]``."""
        return (self.beside.mean(2) > self.up).all(1)


def probed(trials: Trials) -> Probe | None:
    """What steps along gradients and random directions lead to, from a random place of each threat; None where the
    threat is no ball."""
    if trials.threat.kind not in ("images", "frames"):
        return None
    if "probe" not in trials.asked:
        trials.asked["probe"] = Probe(*trials.shared(lambda rows: _probe(trials, rows)))
    found: Probe = trials.asked["probe"]
    return found


def _probe(trials: Trials, rows: Tensor, places: Tensor | None = None) -> Probe:
    """Of these rows, each at its own of the `places` ``[N, C, H, W]``; all parts have a row each."""
    x, y, threat, model = trials.x[rows], trials.y[rows], trials.threat, trials.judge.attacked
    streams = Streams.of(trials.seed, trials.index[rows].to(x.device))
    task = Task(model, x, y, threat, streams, stop=False, width=trials.batch)
    with seeded(trials.seed, x.device), as_evaluated(model), in_full_precision():
        query = Query.over(task, eot=trials.judge.draws)
        # off the grey levels of a data set, at which a code may have its steps
        base = threat.start(x, streams) if places is None else places[rows]
        logits = query.logits(base)
        here = Answer.of(logits, y, Margin()(logits, y)).loss

        def stepped(direction: Tensor) -> Tensor:
            steps = [threat.project(base + length * threat.eps * direction, x) for length in LENGTHS]
            return torch.stack([query.answer(z, Margin(), offer=False).loss for z in steps], 1)

        # along its own path what was attacked, and not another copy of it
        views = along(trials.judge.model, trials.paths) | {OWN: model}
        asked = [Query.over(replace(task, model=seen), eot=trials.judge.draws) for seen in views.values()]
        slopes = [each.gradient(base, Margin(), offer=False)[0] for each in asked]
        ahead = torch.stack([stepped(threat.ascent(slope, base)) for slope in slopes], 1)
        noise = [streams.normal(*x.shape[1:], like=x) for _ in range(RANDOM)]
        beside = torch.stack([stepped(threat.ascent(direction, base)) for direction in noise], 1)
    for each in (query, *asked):
        trials.spend(each.slots.gradients, each.slots.forwards)
    return Probe(here, ahead, beside, logits.abs().amax(1).clamp(min=1e-30))


def rising(trials: Trials) -> Tensor | None:
    """Whether an image's margin is larger just before another class than at the image ``[B]``; None where all are of
    one class, or the threat is no ball. The way leads to another image, and is halved until the class changes."""
    if trials.threat.kind not in ("images", "frames") or (trials.y == trials.y[0]).all():
        return None
    if "rising" not in trials.asked:
        (trials.asked["rising"],) = trials.shared(lambda rows: (_rising(trials, rows),))
    found: Tensor = trials.asked["rising"]
    return found


def _rising(trials: Trials, rows: Tensor) -> Tensor:
    """Of these rows."""
    x, y, model, draws = trials.x[rows], trials.y[rows], trials.judge.fresh(), trials.judge.draws
    others = (trials.y.roll(-1) != trials.y).nonzero().squeeze(1)  # each has an image of another class after it
    last = others[torch.searchsorted(others, rows.to(others)) % len(others)]
    goal = trials.x[(last + 1) % len(trials.x)]

    def logits_at(z: Tensor) -> Tensor:
        return predict(model, z, draws=draws, seed=trials.seed).to(x.device)

    def loss(logits: Tensor) -> Answer:
        return Answer.of(logits, y, Margin()(logits, y))

    clean = logits_at(x)
    first = loss(clean).loss
    before, near, far = first.clone(), torch.zeros_like(first), torch.ones_like(first)
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        there = loss(logits_at(x + per_image(middle, x) * (goal - x)))
        before = torch.where(there.broken, before, there.loss)
        near, far = torch.where(there.broken, near, middle), torch.where(there.broken, middle, far)
    trials.spend(torch.zeros(len(x)), torch.full((len(x),), draws * (HALVINGS + 1)))
    return first - before > SAME * clean.abs().amax(1)


@check(
    Trials,
    key="gradient-misleads",
    name="the gradient does not predict the network",
    threshold=0.42,  # 0.5 where a gradient says nothing; latency codes, whose gradient is coarse, reach 0.34
    spoils=True,
    number="share of random steps (eps/4, eps/2, eps; 7 an image) that lead as far as those along the gradient, the "
    "best path, where the margin changes at all",
    meaning="A step along the gradient leads no further than steps at random: the gradient is not that of the network.",
    cheap=True,
)
def gradient_misleads(trials: Trials) -> Measured | None:
    if (probe := probed(trials)) is None or not probe.moved.any():
        return None
    moved = probe.moved
    return Measured(
        number=float(probe.outdone[moved].mean()), details={"samples": int(moved.sum())}, chance=limit(int(moved.sum()))
    )


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
    if (probe := probed(trials)) is None:
        return None
    climb = trials.tools.climb(steps=trials.few)
    z, _ = trials.returned(climb)
    ended = Probe(*trials.shared(lambda rows: _probe(trials, rows, z)))
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
    key="silent-scores",
    name="scores carry no information",
    threshold=SILENT,
    spoils=False,
    number="share of images with one and the same margin at all of 24 places or more in the threat",
    meaning="The margin is the same wherever one looks: attacks that follow scores are blind. Labels alone are tried.",
    cheap=True,
)
def silent_scores(trials: Trials) -> Measured | None:
    if (probe := probed(trials)) is None:
        return None
    return Measured(number=share(~probe.moved), details={"samples": len(trials.x)})


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
    return Measured(number=share(rises), details={"samples": len(rises)}, chance=limit(len(rises)))


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
    probe, rises = probed(trials), rising(trials)
    silent = probe is not None and share(~probe.moved) > SILENT
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

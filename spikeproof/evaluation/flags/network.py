"""Does a network answer as an evaluation assumes: by the image alone, and the same to an attack as to a user?"""

from functools import partial

import torch
from torch import Tensor

from spikeproof.calling import width_for
from spikeproof.evaluation.flags.flag import Measured, check
from spikeproof.evaluation.flags.inspection import OWN, Inspection, share_changed, share_turned
from spikeproof.evaluation.flags.statistics import share
from spikeproof.evaluation.fresh import grows, remembered
from spikeproof.shortage import unless_short

KEPT = 8  # images that are looked for in memory
NEAR = 0.05  # in pixel units: of images that are taken for others' neighbours
TINY = 1e-6  # a change of pixels that only rounding sees
SUM = 1e-3  # as far from 1 rounding leaves the sum of a softmax
ALONE = 4  # images that are asked about alone as well
CALLS = 60  # in a row, after which a gradient is asked for again: more than the suite `quick` makes of a network


@check(
    Inspection,
    key="stateful",
    name="keeps a state",
    threshold=0.0,
    spoils=True,
    number="share of images whose logits change after another call, same random numbers; that a fresh copy of the "
    "network, which has seen nothing, answers otherwise; or that lie in memory two calls later",
    meaning="The same samples with the same random numbers get other logits after another call, or samples are kept "
    "after the call: something is left over from it. Reset it in forward.",
    final=True,
)
def stateful(network: Inspection) -> Measured:
    first = network.x[: network.width]
    kept = _kept(network, first[:KEPT])  # first of all: no image of the data has been shown to anybody yet
    once = network.ask(first)
    network.ask(first.amax() - first)
    found = {
        "after another call": share_changed(network.ask(first), once),
        "beside a fresh copy": _changed_by_memories(network, first),
        "kept in memory": kept,
    }
    return Measured(number=max(found.values()), details={name: number for name, number in found.items() if number})


def _changed_by_memories(network: Inspection, x: Tensor) -> float:
    """The share of images near `x` to which a copy that has seen `x` answers otherwise than one that has not."""
    if not network.copies.exact:
        return 0.0
    shift = torch.rand(x.shape, generator=torch.Generator().manual_seed(network.seed)).to(x) * 2 - 1
    near = (x + NEAR * shift).clamp(0, float(x.amax()))
    used = network.copies()
    network.ask(x, model=used)
    return share(~_equal(network.ask(near, model=used), network.ask(near, model=network.copies())))


def _kept(network: Inspection, x: Tensor) -> float:
    """The share of images that are kept somewhere; 1 where every call leaves more behind."""
    call = partial(network.ask, model=network.copies())
    return remembered(call, x) / len(x) or float(grows(call, x))


@check(
    Inspection,
    key="undeclared-randomness",
    name="undeclared randomness",
    threshold=0.0,
    spoils=True,
    number="share of images whose logits change with the random numbers",
    meaning="Logits change with the random numbers, and the model does not say so. Set stochastic = True: then attacks "
    "and judgements average over draws.",
)
def undeclared_randomness(network: Inspection) -> Measured | None:
    return None if network.stochastic else Measured(number=network.changed_by_seed)


@check(
    Inspection,
    key="batch-dependence",
    name="images of a batch meet",
    threshold=0.0,
    spoils=True,
    number="share of images whose logits differ in any bit beside other images, in another order of those, or alone; "
    "same shape, same place, same random numbers (0.2 for declared noise)",
    meaning="A sample's logits depend on the others in its batch: statistics of the batch are in use.",
)
def batch_dependence(network: Inspection) -> Measured | None:
    if network.random and not network.stochastic:
        return None  # the logits would differ anyway
    x, usual = network.x, network.usual
    with_negatives = torch.cat([x, x.amax() - x])
    differs = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for order in arrangements(len(x), network.width):
        logits = network.ask(with_negatives[order])
        stay = (order == torch.arange(len(order))) & (order < len(x))
        differs[order[stay]] |= ~_equal(logits[stay], usual[order[stay]])
    drawn = 0.2 if network.stochastic else 0.0  # how many numbers are drawn may depend on the images
    return Measured(number=share(differs), details={"samples": len(x)}, chance=drawn)


def arrangements(images: int, width: int) -> list[Tensor]:
    """Batches of images 0 ... n - 1, some at their usual places, and of others, their negatives n ... 2n - 1.

    An image keeps its place, because the place changes how a matrix product rounds (seen with MKL); the others do not.
    """
    here = torch.arange(max(images, width))
    even, real = here % 2 == 0, here < images
    others = images + here % images
    beside = [torch.where(even & real, here, others.flip(0)), torch.where(~even & real, here, others)]
    return beside + [torch.full((width,), index) for index in range(min(ALONE, images, width))]


def _equal(one: Tensor, other: Tensor) -> Tensor:
    """Whether logits ``[B, K]`` are equal, bit for bit, NaN being equal to NaN ``[B]``."""
    return ((one == other) | (one.isnan() & other.isnan())).all(1)


@check(
    Inspection,
    key="place-dependence",
    name="the place in a batch counts",
    threshold=0.2,  # of the images: rounding differs from place to place, and a spike at its threshold may flip
    spoils=True,
    number="share of images whose logits change at another place of the batch (deterministic networks)",
    meaning="A sample's logits depend on its place in the batch: it meets noise with a fixed seed, for example.",
)
def place_dependence(network: Inspection) -> Measured | None:
    if network.random:
        return None
    return Measured(number=share_changed(network.ask(network.x.flip(0)).flip(0), network.usual))


@check(
    Inspection,
    key="size-dependence",
    name="the size of a batch counts",
    threshold=0.2,  # as for the place
    spoils=True,
    number="share of images whose logits change in a batch of another size (deterministic networks)",
    meaning="A sample's logits depend on how many there are in the batch: what is judged is not what is attacked.",
)
def size_dependence(network: Inspection) -> Measured | None:
    if network.random:
        return None
    sizes = sorted({1, 2, network.width + 1, width_for(network.x.device)} - {network.width})
    changed = {size: share_changed(network.ask(network.x, width=size), network.usual) for size in sizes}
    return Measured(number=max(changed.values()), details={f"{n} at once": c for n, c in changed.items() if c})


@check(
    Inspection,
    key="jumps",
    name="logits jump",
    threshold=0.2,  # of the images: a spike at its threshold may flip
    spoils=True,
    number="share of images whose logits change when all pixels change by 1e-6 (deterministic networks)",
    meaning="Samples that nobody can tell apart get other logits: noise that the sample itself decides, for example. "
    "Attacks cannot learn anything from one step for the next.",
)
def jumps(network: Inspection) -> Measured | None:
    if network.random:
        return None
    here, there = neighbours(network)
    return Measured(number=share_changed(network.ask(there), network.ask(here)))


def neighbours(network: Inspection) -> tuple[Tensor, Tensor]:
    """Places near the images, and others that nobody can tell from these."""
    x, generator = network.x, torch.Generator().manual_seed(network.seed)
    # off the grey levels of a data set, at which a code may have its steps
    here = x + NEAR * (torch.rand(x.shape, generator=generator).to(x) - x)
    return here, here + TINY * (2 * torch.randint(0, 2, x.shape, generator=generator).to(x) - 1)


@check(
    Inspection,
    key="noise-is-none",
    name="declared noise is none",
    threshold=0.0,
    spoils=False,
    number="1 where logits do not change with the random numbers of a network that says that they do",
    meaning="The network says that its logits are random, and they are not: draws are wasted on it, and no attack "
    "stops early. Set stochastic = False.",
)
def noise_is_none(network: Inspection) -> Measured | None:
    return Measured(number=float(not network.changed_by_seed)) if network.stochastic else None


@check(
    Inspection,
    key="other-logits",
    name="an attack sees other logits",
    threshold=0.05,
    spoils=True,
    number="share of images whose logits along a gradient path, or while gradients are taken, differ from inference",
    meaning="What is attacked is not what is evaluated.",
)
def other_logits(network: Inspection) -> Measured:
    views, x = network.views.items(), network.x
    changed = {name: share_changed(network.ask(x, model=seen), network.usual) for name, seen in views}
    if not network.random:
        with_gradients = network.ask(x, model=network.views[OWN], gradients=True)
        changed["with gradients"] = share_changed(with_gradients, network.usual)
    return Measured(number=max(changed.values()), details={name: number for name, number in changed.items() if number})


@check(
    Inspection,
    key="probabilities",
    name="outputs are probabilities",
    threshold=0.5,  # of the images: rates of spikes may add up to 1 now and then
    spoils=False,
    number="share of images whose outputs are none below 0 and add up to 1",
    meaning="The network ends with a softmax. Where it is sure, what it says is rounded to 0 and 1, and its "
    "gradients to 0. Leave the softmax away, logits are meant.",
)
def probabilities(network: Inspection) -> Measured:
    outputs = network.usual
    return Measured(number=share((outputs >= 0).all(1) & ((outputs.sum(1) - 1).abs() < SUM)))


@check(
    Inspection,
    key="random-gradients",
    name="gradients are drawn",
    threshold=0.05,
    spoils=True,
    number="share of images whose gradient points elsewhere (cosine below 0.99) with other random numbers, though the "
    "logits do not change with them",
    meaning="Logits are the same in every call and gradients are not: noise is added on the way back.",
)
def random_gradients(network: Inspection) -> Measured | None:
    if network.random:
        return None
    return Measured(number=share_turned(network.slopes(network.x, seed=network.seed + 1), network.slopes(network.x)))


@check(
    Inspection,
    key="unsteady-gradients",
    name="gradients are not steady",
    threshold=0.2,  # of the images: a spike at its threshold may flip
    spoils=True,
    number="share of images whose gradient points elsewhere (cosine below 0.99) at pixels 1e-6 away, in a batch of "
    "another size, or 60 calls later (deterministic networks)",
    meaning="The same sample gets another gradient where nothing has changed. What an attack learns from one step is "
    "not true at the next.",
)
def unsteady_gradients(network: Inspection) -> Measured | None:
    if network.random:
        return None
    here, there = neighbours(network)
    usual, few = network.slopes(here), here[:KEPT]
    turned = {
        "1e-6 away": share_turned(network.slopes(there), usual),
        "alone": share_turned(network.slopes(few, width=1), usual[:KEPT]),
    }
    widest = unless_short(lambda: network.slopes(here, width=network.widest))
    if widest is not None:
        turned[f"{network.widest} at once"] = share_turned(widest, usual)
    for _ in range(CALLS):
        network.slopes(few[:2], width=2)
    turned[f"{CALLS} calls later"] = share_turned(network.slopes(here), usual)
    return Measured(number=max(turned.values()), details={name: number for name, number in turned.items() if number})


@check(
    Inspection,
    key="zero-gradients",
    name="zero input gradients",
    threshold=0.1,
    spoils=True,
    number="share of images whose margin has an exactly zero gradient along *every* path attacked",
    meaning="The gradient of the margin is exactly zero at these samples, along every path that is attacked. Gradient "
    "attacks see nothing there.",
)
def zero_gradients(network: Inspection) -> Measured:
    return Measured(number=share(network.blind), details={"samples": len(network.x), "paths": len(network.views)})

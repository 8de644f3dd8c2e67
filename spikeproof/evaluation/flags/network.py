"""Does a network answer as an evaluation assumes: by the image alone, and the same to an attack as to a user?"""

import torch
from torch import Tensor

from spikeproof.evaluation.flags.flag import Measured, check
from spikeproof.evaluation.flags.inspection import Inspection, share_changed
from spikeproof.evaluation.flags.statistics import share

ALONE = 4  # images that are asked about alone as well


@check(
    Inspection,
    key="stateful",
    name="keeps a state",
    threshold=0.0,
    spoils=True,
    number="share of images whose logits change after another call, same random numbers",
    meaning="The same samples with the same random numbers get other logits after another call: something is left over "
    "from it. Reset it in forward.",
    final=True,
)
def stateful(network: Inspection) -> Measured:
    first = network.x[: network.width]
    once = network.ask(first)
    network.ask(first.amax() - first)
    return Measured(number=share_changed(network.ask(first), once))


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
    "same shape, same place (deterministic networks)",
    meaning="A sample's logits depend on the others in its batch: statistics of the batch are in use.",
)
def batch_dependence(network: Inspection) -> Measured | None:
    if network.random:
        return None  # the logits would differ anyway
    x, usual = network.x, network.usual
    with_negatives = torch.cat([x, x.amax() - x])
    differs = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for order in arrangements(len(x), network.width):
        logits = network.ask(with_negatives[order])
        stay = (order == torch.arange(len(order))) & (order < len(x))
        differs[order[stay]] |= ~_equal(logits[stay], usual[order[stay]])
    return Measured(number=share(differs), details={"samples": len(x)})


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
    key="other-logits",
    name="an attack sees other logits",
    threshold=0.05,
    spoils=True,
    number="share of images whose logits along a gradient path differ from inference, the worst path",
    meaning="What is attacked is not what is evaluated.",
)
def other_logits(network: Inspection) -> Measured:
    views, x = network.views.items(), network.x
    changed = {name: share_changed(network.ask(x, model=seen), network.usual) for name, seen in views}
    return Measured(number=max(changed.values()), details={name: number for name, number in changed.items() if number})


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

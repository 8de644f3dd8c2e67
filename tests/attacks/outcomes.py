"""How does a test judge what an attack found, and what it left behind?"""

import copy
import math
import random

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import Threat
from spikeproof.attacks.query import Query, Task
from spikeproof.randomness import Streams


def broken(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images the model gets wrong ``[B]``."""
    with torch.no_grad():
        return model(x).argmax(1) != y


def at_first(seed: int, x: Tensor, leg: int = 0) -> Streams:
    """The random numbers that a leg of an attack on `x` begins with."""
    return Streams.of(seed, torch.arange(len(x), device=x.device)).at(torch.tensor(leg << 32))


def asked(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, eot: int = 1, seed: int = 0) -> Query:
    """A query about `x`, as an attack that stops at nothing has it."""
    return Query.over(
        Task(model, x, y, threat, Streams.of(seed, torch.arange(len(x), device=x.device)), stop=False), eot
    )


def as_many(ours: Tensor, theirs: Tensor) -> bool:
    """Whether ours break as many images as theirs ``[B]``, or fewer by what chance explains.

    An image that only one of two equals breaks is either's by a coin: they differ by the square root of the tosses.
    """
    lost, gained = (theirs & ~ours).sum().item(), (ours & ~theirs).sum().item()
    return lost - gained <= 1 + 2 * math.sqrt(lost + gained)


def distances(model: nn.Module, found: Tensor, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """How far the images that the model gets wrong are ``[B]``; inf where it is right."""
    return torch.where(broken(model, found, y), threat.distance(found, x), torch.inf)


def in_disorder(network: nn.Module) -> nn.Module:
    """A copy of the network among others: modes are mixed, some weights want gradients, and some have one already."""
    model = nn.Sequential(nn.Identity(), copy.deepcopy(network), nn.Dropout(0.5)).train()
    for module in list(model.modules())[::3]:
        module.training = False
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 2 == 0)
        parameter.grad = torch.full_like(parameter, 3.0) if index % 4 == 0 else None
    return model


def state_of(model: nn.Module) -> dict[str, object]:
    """All that an attack has to leave as it was: of the model, and of every source of randomness."""
    return {
        "tensors": {k: v.tolist() for k, v in model.state_dict().items()},
        "training": [m.training for m in model.modules()],
        "wanted": [p.requires_grad for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
        "grad mode": torch.is_grad_enabled(),
    }

"""How does a test judge what an attack found?"""

import torch
from torch import Tensor, nn

from spikeproof.attacks import Threat


def broken(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images the model gets wrong ``[B]``."""
    with torch.no_grad():
        return model(x).argmax(1) != y


def distances(model: nn.Module, found: Tensor, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """How far the images that the model gets wrong are ``[B]``; inf where it is right."""
    return torch.where(broken(model, found, y), threat.distance(found, x), torch.inf)

"""What does a person call the layers of a network? By the weights before them, counted: conv 2, linear 1."""

from torch import nn

from spikeproof.snn.neurons import SpikingLayer

__all__ = ["layer_names"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def layer_names(model: nn.Module) -> dict[str, str]:
    """A name for each layer of spiking neurons, by the name of its module.

    That is the convolution or linear layer before it, counted in the order of the modules. A second layer of neurons
    behind the same weights, as after a residual sum, is followed by its number: conv 3 (2).
    """
    found: dict[str, str] = {}
    counts = {"conv": 0, "linear": 0}
    before, behind = "", 0
    for name, module in model.named_modules():
        kind = "linear" if isinstance(module, nn.Linear) else "conv" if isinstance(module, CONVOLUTIONS) else None
        if kind is not None:
            counts[kind] += 1
            before, behind = f"{kind} {counts[kind]}", 0
        elif isinstance(module, SpikingLayer):
            behind += 1
            found[name] = (before if behind == 1 else f"{before} ({behind})") if before else name
    return found

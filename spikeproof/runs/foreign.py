"""How is a network from elsewhere built again? By the function that built it, which ``model.json`` names."""

from pathlib import Path

from torch import nn

from spikeproof.choices import UserError, nearest
from spikeproof.registry import imported
from spikeproof.untrusted.words import told


def needs_trust(folder: Path, factory: str) -> UserError:
    """What is said where code from elsewhere would have to run, and was not trusted."""
    return UserError(
        f"the network of {folder} is built by {told(factory)}, code from outside spikeproof; it is only run with "
        "--trust, and only if you know who wrote it"
    )


def built_by(factory: str) -> nn.Module:
    """What the function `factory`, written package.module:function, returns when it is called without arguments.

    The current folder is looked in first. Runs the code it names. Raises `UserError` where there is no such module or
    function, where either fails, and where no network is returned.
    """
    module, _, name = factory.partition(":")
    if not (module and name):
        raise UserError(
            f"{told(factory)} names no function: write package.module:function, for example mynets.vgg:build"
        )
    found = imported(module)
    function = getattr(found, name, None)
    if not callable(function) or isinstance(function, nn.Module):
        known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
        hint = "it is no function" if function is not None else nearest(name, known) if known else "it has no function"
        raise UserError(f"{module} has no function {name!r} that returns a network; {hint}")
    try:
        model = function()
    except Exception as error:
        raise UserError(f"{factory}, called without arguments, fails: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"{factory} returned a {type(model).__name__}, and a network is a torch.nn.Module")
    return model

"""Which modules of a network have a `reset` of their own, which forgets what they keep? Those of no known library."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def with_reset(model: nn.Module, known: Callable[[nn.Module], bool]) -> list[nn.Module]:
    """The modules, but for those `known`, whose `reset`, called without arguments, leaves the weights as they are.

    It is called here, to see that. A `reset` that changes a parameter makes a new network: it is undone, and not used.
    """
    able: list[Any] = [module for module in model.modules() if not known(module) and _can_reset(module)]
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()} if able else {}
    return [module for module in able if _keeps_weights(module, model, before)]


def _can_reset(module: Any) -> bool:
    reset = getattr(module, "reset", None)
    if not callable(reset) or isinstance(reset, nn.Module):
        return False
    try:
        inspect.signature(reset).bind()
    except (TypeError, ValueError):  # it needs arguments, or does not say
        return False
    return True


def _keeps_weights(module: Any, model: nn.Module, before: dict[str, Tensor]) -> bool:
    module.reset()
    changed = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    with torch.no_grad():
        for name in changed:
            model.get_parameter(name).copy_(before[name])
    return not changed

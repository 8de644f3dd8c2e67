"""Which network is inside what was handed in? Wrappers that compute the same come off, fixed graphs are refused."""

from collections.abc import Iterator
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from spikeproof.choices import UserError

M = TypeVar("M", bound=nn.Module)

INSIDE = ((nn.DataParallel, "module"), (nn.parallel.DistributedDataParallel, "module"), (AveragedModel, "module"))
SHARDED = ("FullyShardedDataParallel", "FSDPModule")  # by name: importing them starts torch.distributed
AUXILIARY = ("_compiled_call_impl", "_backward_hooks")  # what belongs to one object and not to its copy


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself: without `torch.compile`, `DataParallel`, `DistributedDataParallel` and `AveragedModel`.

    These compute what it computes. Raises `UserError` for a network, or a part of one, of which only a graph of
    operations is left (`torch.jit`, `torch.export`, `torch.fx`): its neurons cannot be seen, and its gradient paths are
    lost. It does so for one whose weights are sharded.
    """
    model = without_wrapper(model)
    for name, module in model.named_modules():
        if why := _unreadable(without_wrapper(module)):
            where = f"its part {name!r}" if name else f"the network, a {type(model).__name__},"
            raise UserError(f"{where} {why}: hand in the network that it was made of")
    return model


def without_wrapper(module: nn.Module) -> nn.Module:
    """`module`, or what it merely wraps."""
    while (inner := _inside(module)) is not None:
        module = inner
    return module


def _inside(module: nn.Module) -> nn.Module | None:
    if type(module).__name__ == "OptimizedModule":  # of `torch.compile`; the class is no public name
        return module._modules["_orig_mod"]
    return next((module._modules[name] for kind, name in INSIDE if isinstance(module, kind)), None)


def _unreadable(module: nn.Module) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        return "is fixed by torch.jit, which keeps no neurons and no gradient paths"
    if isinstance(module, fx.GraphModule):
        return "is a graph of torch.export or torch.fx, which keeps no neurons and no gradient paths"
    if any(kind.__name__ in SHARDED for kind in type(module).__mro__):
        return "is sharded over several processes"
    return None


def copied(module: M) -> M:
    """Another object with the attributes of `module`, and tensors, hooks and children in dictionaries of its own.

    Methods that were put onto the object itself are those of the copy. Raises `UserError` for a `forward` that was put
    there and is no method: it would go on calling `module`.
    """
    twin = object.__new__(type(module))
    kept = {name: value for name, value in vars(module).items() if name not in AUXILIARY}
    for name, value in kept.items():
        kept[name] = _rebound(value, module, twin)
    _refuse_other_forward(module, kept.get("forward"), twin)
    twin.__dict__ = kept
    for name in ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks"):
        kept[name] = kept[name].copy()
    kept["_backward_hooks"] = type(module._backward_hooks)()
    return twin


def _rebound(value: Any, module: nn.Module, twin: nn.Module) -> Any:
    value = getattr(value, "_torchdynamo_orig_callable", value) if callable(value) else value  # of torch.compile
    return MethodType(value.__func__, twin) if isinstance(value, MethodType) and value.__self__ is module else value


def _refuse_other_forward(module: nn.Module, forward: Any, twin: nn.Module) -> None:
    if forward is not None and not (isinstance(forward, MethodType) and forward.__self__ is twin):
        raise UserError(
            f"the forward of a {type(module).__name__} was replaced on the object by {forward!r}, and no view of "
            "it can be made: derive a class with that forward"
        )


def computes(module: nn.Module, name: str = "weight") -> bool:
    """Whether the tensor `name` of `module` is computed at each call: by a parametrization, or a hook before it."""
    return parametrize.is_parametrized(module, name) or any(_hooked(module, name))


def _hooked(module: nn.Module, name: str) -> Iterator[bool]:
    for hook in module._forward_pre_hooks.values():
        yield getattr(hook, "name", getattr(hook, "_tensor_name", None)) == name

"""What would an accelerator refuse? A device that pretends to be one, on a CPU.

Its tensors hold their numbers on the CPU and say that they lie on another device. Operations on tensors of two devices
are refused as CUDA refuses them, random numbers from the wrong generator too. Where the host waits for the device is
noted. So whole evaluations can be run on a machine without a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "pretended"
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}  # what takes tensors of two devices
TAKES_INDICES = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.masked_select.default}


class Numbers(Tensor):
    """What a tensor of the device holds: of a type of its own, as who looks for tensors in memory must not see both."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __deepcopy__(self, memo: dict[int, Any]) -> "Numbers":
        return self.detach().clone().as_subclass(Numbers)


class Elsewhere(Tensor):
    """A tensor that says it lies on the pretended device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device(NAME, 0),
        )
        made.inner = inner.as_subclass(Numbers)
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"{self.inner!r} on {self.device}"

    def __tensor_flatten__(self) -> tuple[list[str], None]:  # so that modules exchange such tensors whole
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "Elsewhere":
        return Elsewhere(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return performed(func, args, kwargs or {})


class MadeHere(TorchFunctionMode):
    """Tensors of Python numbers are made on the CPU and then moved, which no operation tells."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func not in (torch.tensor, torch.as_tensor) or kwargs.get("device") is None:
            return func(*args, **kwargs)
        device = kwargs.pop("device")
        return func(*args, **kwargs).to(device)


class Pretending(TorchDispatchMode):
    """Inside this block the device is there.

    `waits` are the operations for which the host waited for it, and `sent` those that sent it something from the CPU:
    neither can be part of a graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.sent: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        there = any(isinstance(each, Elsewhere) for each in tree_leaves((args, kwargs)))
        if there and (func in WAITS or chosen_by_a_mask(func, args) or leaves_the_device(func, args, kwargs)):
            self.waits.append(str(func))
        if reaches_the_device(func, args, kwargs):
            self.sent.append(str(func))
        return performed(func, args, kwargs)


def leaves_the_device(func: Any, args: Any, kwargs: Any) -> bool:
    if func == aten.copy_.default:
        return isinstance(args[1], Elsewhere) and not isinstance(args[0], Elsewhere)
    return func in MOVES and kwargs.get("device") is not None and torch.device(kwargs["device"]).type != NAME


def reaches_the_device(func: Any, args: Any, kwargs: Any) -> bool:
    """From the CPU: what is copied to it, and indices that the CPU holds."""
    if func == aten.copy_.default:
        return isinstance(args[0], Elsewhere) and not isinstance(args[1], Elsewhere)
    if func in TAKES_INDICES:
        here = [each for each in args[1] if isinstance(each, Tensor) and not isinstance(each, Elsewhere)]
        return isinstance(args[0], Elsewhere) and bool(here)
    to = kwargs.get("device")
    return func in MOVES and to is not None and torch.device(to).type == NAME and not isinstance(args[0], Elsewhere)


def chosen_by_a_mask(func: Any, args: Any) -> bool:
    """How many rows there are is known to the device alone."""
    return func in TAKES_INDICES and any(isinstance(each, Tensor) and each.dtype == torch.bool for each in args[1])


def performed(func: Any, args: Any, kwargs: Any) -> Any:
    """What the operation gives, on the device on which it is done."""
    refuse_two_devices(func, args, kwargs)
    there = any(isinstance(each, Elsewhere) for each in tree_leaves((args, kwargs)))
    inner_args, inner_kwargs = (tree_map_only(Elsewhere, lambda each: each.inner, part) for part in (args, kwargs))
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == NAME
    if kwargs.get("device") is not None and there:
        inner_kwargs = dict(inner_kwargs) | {"device": torch.device("cpu")}
    refuse_another_generator(there, tree_leaves((args, kwargs)))
    found = func(*inner_args, **inner_kwargs)
    if not there:
        return found
    return return_and_correct_aliasing(func, args, kwargs, tree_map_only(Tensor, Elsewhere, found))


def refuse_two_devices(func: Any, args: Any, kwargs: Any) -> None:
    """As CUDA does; a number in a tensor without axes may come from the CPU, and so may indices."""
    if func in MOVES:
        return
    given = args if func not in TAKES_INDICES else (args[0], args[2:])
    tensors = [each for each in tree_leaves((given, kwargs)) if isinstance(each, Tensor)]
    there = [each for each in tensors if isinstance(each, Elsewhere)]
    here = [each for each in tensors if not isinstance(each, Elsewhere) and each.ndim]
    if there and here:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found {NAME} and cpu")
    if func in TAKES_INDICES and not there and any(isinstance(each, Elsewhere) for each in tree_leaves(args[1])):
        raise RuntimeError(f"{func}: indices should be either on cpu or on the same device as the indexed tensor")


def refuse_another_generator(there: bool, given: list[Any]) -> None:
    if there and any(isinstance(each, torch.Generator) for each in given):
        raise RuntimeError(f"expected a {NAME!r} device type for generator but found 'cpu'")


@contextmanager
def pretended_device() -> Iterator[Pretending]:
    """The device `NAME` is there inside the block."""
    declare()
    with MadeHere(), Pretending() as pretending:
        yield pretending


def declare() -> None:
    """Once and for good in this process; not on import, as other versions of torch may not have it."""
    if torch._C._get_privateuse1_backend_name() == NAME:
        return
    from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

    class Module(_DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16, torch.float16]

    _setup_privateuseone_for_python_backend(NAME, backend_module=Module())

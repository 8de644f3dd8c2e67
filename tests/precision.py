"""How is float32 multiplied, and what does a network see of it? Every switch there is, read, set and noted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

NEW = {
    "cuda.matmul": torch.backends.cuda.matmul,
    "cudnn.conv": torch.backends.cudnn.conv,
    "cudnn.rnn": torch.backends.cudnn.rnn,
    "mkldnn.matmul": torch.backends.mkldnn.matmul,
    "mkldnn.conv": torch.backends.mkldnn.conv,
    "mkldnn.rnn": torch.backends.mkldnn.rnn,
}
FULL = dict.fromkeys(NEW, "ieee") | {
    "matmul": "highest",
    "cuda.allow_tf32": False,
    "cudnn.allow_tf32": False,
    "cudnn.benchmark": False,
    "autocast.cpu": False,
    "autocast.cuda": False,
}


def readable(read: Any) -> Any:
    """What a switch says, or that torch refuses to read it: the newer ones say what it cannot."""
    try:
        return read()
    except RuntimeError:
        return "unreadable"


def switches() -> dict[str, Any]:
    """All that says how float32 is multiplied."""
    return {name: place.fp32_precision for name, place in NEW.items()} | {
        "matmul": readable(torch.get_float32_matmul_precision),
        "cuda.allow_tf32": readable(lambda: torch.backends.cuda.matmul.allow_tf32),
        "cudnn.allow_tf32": readable(lambda: torch.backends.cudnn.allow_tf32),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "autocast.cpu": torch.is_autocast_enabled("cpu"),
        "autocast.cuda": torch.is_autocast_enabled("cuda"),
    }


@contextmanager
def kept() -> Iterator[None]:
    """All switches are as before after the block."""
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn
    convolutions, searching = cudnn.allow_tf32, cudnn.benchmark
    new = [(place, place.fp32_precision) for place in (torch.backends, *NEW.values())]
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        cudnn.allow_tf32, cudnn.benchmark = convolutions, searching
        for place, precision in new:
            place.fp32_precision = precision


@contextmanager
def as_fast_as_users_have_it() -> Iterator[None]:
    """TF32 everywhere, the fastest convolutions looked for, and bfloat16 where layers can have it."""
    with kept(), torch.autocast("cpu", torch.bfloat16), torch.autocast("cuda", torch.bfloat16, enabled=False):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
        yield


class Seen(NamedTuple):
    """What the switches were in each call of a network itself, and in each along which gradients flowed."""

    judged: list[dict[str, Any]]
    attacked: list[dict[str, Any]]


@contextmanager
def seen_by(model: nn.Module) -> Iterator[Seen]:
    """What `model` sees inside the block, and what its views see: hooks after a forward stay with the model alone."""
    seen = Seen([], [])

    def note_gradients(_: nn.Module, given: tuple[Any, ...]) -> None:
        if given[0].requires_grad:
            seen.attacked.append(switches())

    def note_judged(*_: Any) -> None:
        seen.judged.append(switches())

    hooks = model.register_forward_pre_hook(note_gradients), model.register_forward_hook(note_judged)
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()

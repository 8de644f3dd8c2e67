"""What do red flags cost? The same evaluation with them and without, one after the other, in pairs."""

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from spikeproof.controls import THREAT
from spikeproof.data import Digits
from spikeproof.evaluation import Protocol, evaluate, robustness, suite_named
from spikeproof.evaluation.flags import CHECKS, Check, Flag, examine
from spikeproof.runs import environment

SUITES = ("quick", "standard")
IMAGES = 100
FIRST = "stateful"  # the flag that an evaluation asks for before any other


class Count:
    """Images that were passed through a network, and back; all copies of the network count together."""

    def __init__(self) -> None:
        self.forwards = self.gradients = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Count":
        return self


class Noted(torch.autograd.Function):
    """The identity; it counts the images of a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: Count) -> Tensor:
        ctx.count = count
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.count.gradients += len(grads[0])
        return grads[0], None


class Counted(nn.Module):
    """A network that counts what it is asked, the rows that fill up a batch too."""

    def __init__(self, network: nn.Module, count: Count) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, x: Tensor) -> Tensor:
        self.count.forwards += len(x)
        return self.network(Noted.apply(x, self.count))


def never_raised(subject: object, checks: Sequence[Check[Any]] | None = None) -> Iterator[Flag]:
    """In the place of `examine`: the one flag that an evaluation waits for, unasked."""
    first = next(each for each in CHECKS if each.key == FIRST)
    if isinstance(subject, first.subject):
        yield Flag(first.key, first.name, 0.0, first.threshold, first.spoils, first.meaning, {})


@contextmanager
def flags(wanted: bool) -> Iterator[None]:
    """Evaluations inside the block look for red flags, or do not."""
    with patch.object(robustness, "examine", examine if wanted else never_raised):
        yield


def priced(network: nn.Module, suite: str, rounds: int) -> dict[str, Any]:
    """Medians over the rounds: processor seconds, and images passed forward and back, with flags and without."""
    data, protocol = Digits().part("test").first(IMAGES), Protocol(threats=THREAT, suite=suite_named(suite))
    found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for number in range(-1, rounds):  # the first one compiles, and does not count
        for wanted in (True, False) if number % 2 else (False, True):
            count = Count()
            began = time.process_time()
            with flags(wanted):
                evaluate(Counted(copy.deepcopy(network), count), data, protocol)
            spent = {"seconds": time.process_time() - began, **vars(count)}
            if number >= 0:
                found[wanted].append(spent)
    ratios = [w["seconds"] / o["seconds"] for w, o in zip(found[True], found[False], strict=True)]
    return {
        "images": IMAGES,
        "rounds": rounds,
        "commit": environment().versions.get("commit"),
        "with flags": medians(found[True]),
        "without": medians(found[False]),
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
    }


def medians(spent: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in spent) for name in spent[0]}

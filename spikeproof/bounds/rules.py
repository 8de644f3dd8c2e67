"""How are a layer's rules found? By its type, in one table; a layer without a rule is refused by its name.

A rule maps a layer and what is known of its input to what is known of its output. For a layer of your own:

    @bounds.rule(MyLayer)
    def of_my_layer(layer, signal, how):
        return Box(Range(layer.lowest(signal.each.low), layer.highest(signal.each.high)))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from spikeproof.bounds.signals import Signal
from spikeproof.choices import UserError


@dataclass(frozen=True)
class How:
    """`trains`: look at whole spike trains, and not at each step alone. `rounding`: bounds hold what float32 rounds."""

    trains: bool = True
    rounding: bool = True


Rule = Callable[[Any, Signal, How], Signal]
RULES: dict[type, Rule] = {}


def rule(*kinds: type) -> Callable[[Rule], Rule]:
    """Declares the rule of all layers of these types; those derived from them share it unless they compute anew."""

    def declare(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return declare


def bounded(layer: nn.Module, signal: Signal, how: How) -> Signal:
    """What is known of the layer's output in eval mode; raises `UserError` for a layer that has no rule."""
    return rule_of(layer)(layer, signal, how)


def rule_of(layer: nn.Module) -> Rule:
    """The rule of this layer's type, or of the nearest type that it is derived from and computes as."""
    kind = next((kind for kind in type(layer).__mro__ if kind in RULES), None)
    if kind is None or type(layer).forward is not kind.forward:  # type: ignore[attr-defined]
        raise UserError(
            f"no rule says what a {type(layer).__name__} makes of bounds, so none of the network are known: "
            "declare one with spikeproof.bounds.rule, or take a certificate by votes, GaussianSmoothing for example"
        )
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise UserError(f"a {type(layer).__name__} has hooks, and what they do to bounds is not known: remove them")
    return RULES[kind]

"""How are choices, shares, times and perturbation sizes written for a reader?"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from spikeproof.reports.reading.intervals import Estimate

ON_RECORDINGS = ("FrameLinf", "FrameL2", "EventFlips", "EventEdits", "Retiming")  # whose numbers count events
NARROW = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Noun:
    """What the data are called: ``image``, ``images`` and ``an``, say."""

    one: str
    many: str
    article: str


IMAGE, RECORDING = Noun("image", "images", "an"), Noun("recording", "recordings", "a")
EITHER = Noun("image or recording", "images or recordings", "an")


def noun(recordings: Iterable[bool]) -> Noun:
    """The noun for data that are recordings, images, or some the one and some the other."""
    kinds = set(recordings)
    return EITHER if len(kinds) > 1 else RECORDING if True in kinds else IMAGE


def spelled(config: Any, depth: int = 9, write: Callable[[float], str] | None = None) -> str:
    """A choice as its constructor call, ``TRADES(beta=6)``; what lies deeper than `depth` is left out.

    `write` writes numbers that are not whole: `size`, but ``0.5`` as it is where they count events.
    """
    write = write or size
    if isinstance(config, dict) and "class_path" in config:
        name = str(config["class_path"]).rpartition(".")[2]
        given = config.get("init_args") or {}
        write = plain if name in ON_RECORDINGS else write
        if depth <= 0:
            return f"{name}(…)" if given else f"{name}()"
        return f"{name}({', '.join(f'{k}={spelled(v, depth - 1, write)}' for k, v in given.items())})"
    if isinstance(config, dict):
        return "{" + ", ".join(f"{k}: {spelled(v, depth, write)}" for k, v in config.items()) + "}"
    if isinstance(config, list):
        return "[" + ", ".join(spelled(v, depth, write) for v in config) + "]"
    return write(config) if isinstance(config, float) else str(config)


def plain(value: float) -> str:
    return f"{value:g}"


def size(value: float) -> str:
    """A number, as k/255 where it is a whole number of grey levels that has no short decimal form."""
    decimal, levels = plain(value), value * 255
    in_levels = 0.5 < levels < 255 and abs(levels - round(levels)) < 1e-4
    return f"{round(levels)}/255" if in_levels and len(decimal) > 5 else decimal


def breakable(code: str) -> Markup:
    """`code` that may break into lines where its parts begin, and elsewhere only if it must."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[(,.])", code))


def words(text: str, before: Markup = Markup()) -> Markup:
    """`text` that breaks into lines between its words alone: a name such as PGD-10 stays whole, with `before`."""
    first, *others = text.split(" ")
    whole = [Markup('<span class="word">{}{}</span>').format(before, first)]
    return Markup(" ").join(whole + [Markup('<span class="word">{}</span>').format(word) for word in others])


def percent(share: float) -> str:
    return f"{100 * share:.1f}{NARROW}%"


def with_interval(estimate: Estimate) -> str:
    low, high = f"{100 * estimate.low:.1f}", percent(estimate.high)
    return f"{percent(estimate.value)} (95{NARROW}% interval {low}–\N{WORD JOINER}{high})"


def grouped(number: float) -> str:
    """A whole number with a narrow space between thousands."""
    return f"{number:,.0f}".replace(",", NARROW)


def images(count: float, seeds: int) -> str:
    """A number of images or recordings, with a decimal where it is a mean over several seeds."""
    return grouped(count) if seeds == 1 else f"{count:,.1f}".replace(",", NARROW)


def duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{NARROW}h {minutes:02d}{NARROW}min"
    return f"{minutes}{NARROW}min {rest:02d}{NARROW}s" if minutes else f"{rest}{NARROW}s"


def counted(number: int, noun: str) -> str:
    return f"{grouped(number)} {noun}" if number == 1 else f"{grouped(number)} {noun}s"


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

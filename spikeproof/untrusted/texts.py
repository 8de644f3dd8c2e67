"""How is JSON read that a stranger may have written? Within limits of size, depth and digits."""

import json
import math
import re
from pathlib import Path
from typing import Any

JSON_BYTES = 64 << 20
DEPTH = 32  # of mappings and lists; ours are 12 deep at most
VALUES = 1_000_000  # a few bytes of YAML can name the same list a billion times
BITS = 64  # of a whole number
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # moves a cursor, turns text around


class Unreadable(ValueError):
    """What is wrong with a text, without the name of its file."""


def text_of(path: Path, most: int = JSON_BYTES) -> str:
    """The text of a file of UTF-8 with at most so many bytes; raises `Unreadable` and what opening a file raises."""
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise Unreadable(f"has more than {most:,} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is no UTF-8: {error.reason} at byte {error.start:,}") from error


def json_in(text: str) -> Any:
    """The content of strict JSON: finite numbers, whole ones of 64 bits, each name once. Raises `Unreadable`."""
    try:
        found = json.loads(
            text, parse_int=_whole, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_names_once
        )
    except RecursionError as error:
        raise Unreadable(f"is nested more than {DEPTH} deep") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"is no JSON: {error}") from error
    return within_limits(found)


def json_lines_in(text: str) -> list[Any]:
    """The content of each line; raises `Unreadable` that names the line."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            rows.append(json_in(line))
        except Unreadable as error:
            raise Unreadable(f"in line {number} {error}") from error
    return rows


def _whole(digits: str) -> int:
    if len(digits) > 20:
        raise Unreadable(f"holds a whole number of {len(digits):,} digits; there are 20 at most")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Unreadable(f"holds {digits[:20]}, and no finite number")
    return number


def _no_number(word: str) -> Any:
    raise Unreadable(f"holds {word}, and no finite number")


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"holds {twice[:50]!r} twice")
    return found


def within_limits(content: Any) -> Any:
    """`content`, unless it is too deep, too large or holds what cannot be written down."""
    level, seen = [content], 0
    for _ in range(DEPTH + 1):
        deeper: list[Any] = []
        for value in level:
            _refuse_odd(value)
            if isinstance(value, dict):
                deeper += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple | set):
                deeper += value
            if seen + len(deeper) > VALUES:
                raise Unreadable(f"holds more than {VALUES:,} values")
        seen += len(deeper)
        level = deeper
        if not level:
            return content
    raise Unreadable(f"is nested more than {DEPTH} deep")


def _refuse_odd(value: Any) -> None:
    if isinstance(value, int) and value.bit_length() > BITS:
        raise Unreadable(f"holds a whole number of more than {BITS} bits")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unreadable(f"holds half of a letter (a lone surrogate) in {value[:20]!a}") from error
        if CONTROL.search(value):
            raise Unreadable(f"holds a control character in {value[:20]!a}")

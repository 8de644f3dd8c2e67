"""How do the bytes of a file become records of one length, and its columns whole numbers?"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spikeproof.choices import UserError


def content_of(path: Path) -> bytes:
    """All bytes of the file; raises `UserError` if there is none."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    return path.read_bytes()


def whole_records(content: bytes, start: int, record: np.dtype, path: Path, *, repair: bool) -> np.ndarray:
    """The records [N] from byte `start` to the end, a view that cannot be written to.

    Raises `UserError` if the last one is cut short; with `repair` it is left out.
    """
    count, left = divmod(len(content) - start, record.itemsize)
    if left and not repair:
        raise UserError(
            f"{path}: truncated: of event {count} there are {left} of {record.itemsize} bytes; repair leaves it out"
        )
    return np.frombuffer(content, record, count, start) if count else np.empty(0, record)


def whole_numbers(columns: Mapping[str, np.ndarray], source: object, *, repair: bool) -> list[np.ndarray]:
    """The columns [N], floating-point ones as int64, for files that may hold whole numbers in any type.

    Raises `UserError` for shapes and types that are no columns of numbers. It does so too for a number that is not
    whole, or too large for int64 to hold or for float64 to tell from the next. With `repair` the events that have one
    are left out.
    """
    if len({values.shape for values in columns.values()}) != 1 or any(values.ndim != 1 for values in columns.values()):
        shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in columns.items())
        raise UserError(f"{source}: columns are equally long, [N] each; not {shapes}")
    for name, values in columns.items():
        if values.dtype.kind not in "iubf":
            raise UserError(f"{source}: {name} is numbers, not {values.dtype}")
    faults = {name: _not_whole(values) for name, values in columns.items()}
    wrong = np.any(list(faults.values()), axis=0)
    if wrong.any() and not repair:
        index = int(wrong.argmax())
        name = next(name for name, fault in faults.items() if fault[index])
        raise UserError(
            f"{source}: event {index}: {name} {columns[name][index]} is no whole number of 64 bits; repair leaves "
            "out what is wrong"
        )
    kept = {name: values[~wrong] if wrong.any() else values for name, values in columns.items()}
    return [values.astype(np.int64) if values.dtype.kind == "f" else values for values in kept.values()]


def _not_whole(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "f":
        return values > np.iinfo(np.int64).max
    numbers = values.astype(np.float64)
    return ~(np.abs(numbers) < 2**53) | (numbers != np.rint(numbers))

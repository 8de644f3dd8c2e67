"""How are vectors of numbers read from a MATLAB file, of the format of versions 5 to 7.2?

`scipy.io.loadmat` reads it too, but one changed byte in a file can crash it, and Python with it.
"""

import math
import struct
import zlib
from collections.abc import Collection

import numpy as np

from spikeproof.choices import UserError
from spikeproof.untrusted.archives import inflated
from spikeproof.untrusted.texts import Unreadable

HEADER = 128
ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
MATRIX, COMPRESSED = 14, 15
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMBERS = range(6, 16)  # classes of arrays, from double to uint64
COMPLEX = 0x800


def parse_mat(content: bytes, names: Collection[str]) -> dict[str, np.ndarray]:
    """The rows and columns of these `names`, [N] each, in the type that they are stored in; all else is passed over.

    Raises `UserError` if `content` is not such a file, is cut short, or holds something else under one of the names.
    Source: MAT-File Format, The MathWorks, chapter 1, Level 5 MAT-File Format.
    """
    if len(content) < HEADER:
        raise UserError(f"truncated in its header, after {len(content)} of {HEADER} bytes")
    order = ORDERS.get(content[HEADER - 4 : HEADER])
    if order is None:
        raise UserError("not of MATLAB's versions 5 to 7.2")
    vectors, everything, at = {}, memoryview(content), HEADER
    while at < len(content):
        kind, data, at = _element(everything, at, order)
        if kind == COMPRESSED:
            try:
                kind, data, _ = _element(memoryview(inflated(data)), 0, order)
            except (zlib.error, EOFError, Unreadable) as error:
                raise UserError(f"damaged: {error}") from error
        if kind == MATRIX:
            name, values = _vector(data, names, order)
            if values is not None:
                vectors[name] = values
    return vectors


def _element(content: memoryview, at: int, order: str) -> tuple[int, memoryview, int]:
    """Type and data of the element that begins at byte `at`, and where the next one does."""
    if at + 8 > len(content):
        raise UserError("truncated")
    kind, size = struct.unpack_from(f"{order}II", content, at)
    start, following = at + 8, at + 8 + size + (0 if kind == COMPRESSED else -size % 8)
    if kind >> 16:  # up to 4 bytes are in the tag itself
        kind, size, start, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    if start + size > len(content) or (start == at + 4 and size > 4):
        raise UserError(f"truncated or damaged: an element of {size:,} bytes")
    return kind, content[start : start + size], following


def _vector(matrix: memoryview, names: Collection[str], order: str) -> tuple[str, np.ndarray | None]:
    """The name of an array, and what it holds if it is one of `names`."""
    _, flags, at = _element(matrix, 0, order)
    _, dimensions, at = _element(matrix, at, order)
    _, label, at = _element(matrix, at, order)
    name = bytes(label).decode(errors="replace")
    if name not in names:
        return name, None
    kind, data, _ = _element(matrix, at, order)
    (flag,) = struct.unpack_from(f"{order}I", flags) if len(flags) >= 4 else (0,)
    shape = np.frombuffer(dimensions, f"{order}i4").tolist() if len(dimensions) % 4 == 0 else []
    if flag & 0xFF not in NUMBERS or flag & COMPLEX or kind not in TYPES:
        raise UserError(f"its {name} is no array of numbers")
    dtype = np.dtype(order + TYPES[kind])
    count, left = divmod(len(data), dtype.itemsize)
    if left or math.prod(shape) != count or count not in (0, max(shape, default=-1)):
        raise UserError(f"its {name} is no row or column of numbers, but {shape}")
    return name, np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))

"""How is an IDX file, the format of MNIST, read and checked?"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.published_files import Download, damaged, missing, refuse_altered
from spikeproof.untrusted.archives import gunzipped
from spikeproof.untrusted.texts import Unreadable

UNSIGNED_BYTE = 8


def read_idx(root: Path, download: Download, md5: str) -> np.ndarray:
    """The uint8 array that `download` (a .gz under `root`, or the same unpacked) holds; `md5` is of its content.

    Raises `UserError` if neither file is there, or if it is truncated, damaged or altered.
    """
    packed = root / download.path
    plain = packed.with_suffix("")
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise missing(path, download)
    content = path.read_bytes()
    try:
        content = gunzipped(content) if path == packed else content
        array = parse_idx(content)
    except EOFError as error:
        raise damaged(path, content, md5, "truncated") from error
    except (zlib.error, Unreadable, UserError) as error:
        raise damaged(path, content, md5, f"damaged ({error})") from error
    refuse_altered(path, content, md5)
    return array


def parse_idx(content: bytes) -> np.ndarray:
    """The array of unsigned bytes that an IDX file holds, as a uint8 array that may be written to.

    Raises `UserError` if `content` is not IDX, holds another type, or has not the length its header says.
    Source: the description of the format at http://yann.lecun.com/exdb/mnist/.
    """
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise UserError(f"it starts with {content[:4].hex(' ') or 'nothing'}, as no IDX file of bytes does")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"truncated in its header, after {len(content)} of {start} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected, there = start + math.prod(shape), len(content)
    if there != expected:
        fault = "truncated" if there < expected else "too long"
        raise UserError(f"{fault}: {there:,} bytes, where its header says {expected:,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()

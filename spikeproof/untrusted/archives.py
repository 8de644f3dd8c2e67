"""How is what is packed read, so that a small file cannot fill the memory? Sizes are looked at first.

What is unpacked may have 64 MiB, and beyond that 100 times the bytes of the file. Arrays of events shrink to a tenth.
"""

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spikeproof.untrusted.texts import Unreadable

FLOOR, RATIO = 64 << 20, 100
LAST_RECORD, MOST_COUNTED = 22, 0xFFFF  # of a zip archive: its bytes, and the largest number of members it can say
GZIP = 31  # what zlib calls its window, and the header of gzip


def allowed(packed: int) -> int:
    """How many bytes may come out of so many."""
    return FLOOR + RATIO * packed


def inflated(content: bytes | memoryview, most: int | None = None, window: int = zlib.MAX_WBITS) -> bytes:
    """The bytes of one zlib stream, at most so many (None: as `allowed`).

    Raises `Unreadable` for more, `zlib.error` for a damaged stream and `EOFError` for one that is cut short.
    """
    most = allowed(len(content)) if most is None else most
    machine = zlib.decompressobj(window)
    found = machine.decompress(content, most + 1)
    if len(found) > most:
        raise Unreadable(f"unpacks to more than {most:,} bytes")
    if not machine.eof:
        raise EOFError("it is cut short")
    return found


def gunzipped(content: bytes) -> bytes:
    """The bytes in a .gz of one member, none in an empty file; raises what `inflated` raises."""
    if content[:2] not in (b"", b"\x1f\x8b"):
        raise Unreadable("is no gzip file")
    return content and inflated(content, window=GZIP)


def arrays_in(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a .npz, all or those of these `names` that are there, without running any code.

    Raises `Unreadable` for one whose arrays would be larger than is `allowed`, or have not the size that their headers
    say. Raises what `zipfile`, `zlib` and numpy raise for a damaged one.
    """
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        _refuse_lost_members(stream, archive)
        members = [m for m in archive.infolist() if names is None or m.filename.removesuffix(".npy") in names]
        if odd := [m for m in members if m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]:
            raise Unreadable(f"holds {odd[0].filename[:50]!r} is packed as numpy does not do it")
        whole, most = sum(m.file_size for m in members), allowed(path.stat().st_size)
        if whole > most:
            raise Unreadable(f"unpacks to {whole:,} bytes, and {most:,} are allowed for a file of its size")
        return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        content = stream.read()  # at most what its header says, and of its checksum
    _refuse_other_size(io.BytesIO(content), len(content), member.filename)
    found: np.ndarray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return found


def _refuse_other_size(stream: BinaryIO, size: int, name: str) -> None:
    """The header of an array names its shape, and numpy would take as much memory before it reads."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    said = stream.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and said != size:
        raise Unreadable(f"holds {name[:50]} of {size:,} bytes, where its own header says {said:,}")


def _refuse_lost_members(stream: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Where the list of members is damaged `zipfile` may take its end for reached; the last record counts them."""
    stream.seek(-len(archive.comment) - LAST_RECORD, io.SEEK_END)
    last, found = stream.read(LAST_RECORD), len(archive.infolist())
    if not last.startswith(b"PK\5\6"):
        raise Unreadable("is a damaged archive: it goes on after its last record")
    if (said := int.from_bytes(last[10:12], "little")) != min(found, MOST_COUNTED):
        raise Unreadable(f"is a damaged archive: its list names {found} members of {said}")


def refuse_damaged_zip(path: Path) -> None:
    """Raise `Unreadable` unless each member of the archive fits its checksum, and they are stored as they are."""
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            _refuse_lost_members(stream, archive)
            members = archive.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED for m in members) or (
                sum(m.file_size for m in members) > path.stat().st_size
            ):
                raise Unreadable("has members that are compressed, which torch.save does not do")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"is a damaged archive: {error}") from error
    if damaged is not None:
        raise Unreadable(f"is a damaged archive: {damaged[:100]} does not fit its checksum")

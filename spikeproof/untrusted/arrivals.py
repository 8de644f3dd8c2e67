"""How is what a site sends read? Not more than may come, and no longer than it may take."""

import time
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import IO

from spikeproof.untrusted.texts import Unreadable

TIMEOUT_SECONDS = 30  # without a byte
CHUNK_BYTES = 1 << 20


def arriving(response: HTTPResponse | IO[bytes], most: int, seconds: float) -> Iterator[bytes]:
    """The chunks of an open `response`; raises `Unreadable` beyond `most` bytes, and after so many `seconds`."""
    started, got = time.monotonic(), 0
    read = getattr(response, "read1", response.read)  # what is there: a whole chunk may drip in for ever
    while chunk := read(CHUNK_BYTES):
        got += len(chunk)
        if got > most:
            raise Unreadable(f"gives more than {most:,} bytes")
        if time.monotonic() - started > seconds:
            raise Unreadable(f"gave {got:,} bytes in {seconds:.0f} s, and not all")
        yield chunk

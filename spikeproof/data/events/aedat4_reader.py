"""What does a process of its own read from a file of AEDAT 4? A damaged file may crash the library that reads it.

Started as ``python -P aedat4_reader.py FILE MOST``; MOST is how many bytes of events there may be. It knows nothing of
spikeproof. The question ``events``, or ``events repair``, is answered by a line of JSON and an array [4, N] of t, x, y
and p; the question ``about`` by the size of the sensor.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import aedat
import numpy as np

BYTES = 16  # of an event in the file
FLOOR = 1 << 30  # of memory, which Python and numpy take besides


def stream(decoder: Any) -> tuple[int, Any]:
    """The number of the only stream of events, and what the file says of it."""
    found = [(number, said) for number, said in decoder.id_to_stream().items() if said["type"] == "events"]
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} streams of events, and one is read")
    return found[0]


def packets(decoder: Any, number: int, most: int, repair: bool) -> Iterator[np.ndarray]:
    """The events of each packet as [4, n]; with `repair` those before the first damaged one."""
    left, whole = most, True
    while whole:
        try:
            packet = next(decoder, None)
        except RuntimeError:
            if not repair:
                raise
            packet = None
        whole = packet is not None
        if packet is not None and packet["stream_id"] == number and "events" in packet:
            events = packet["events"]
            left -= BYTES * len(events)
            if left < 0:
                raise ValueError(f"it has more than {most:,} bytes of events")
            yield np.stack([events[name].astype(np.int64) for name in ("t", "x", "y", "on")])


def answer(path: str, most: int, question: list[str]) -> tuple[dict[str, Any], bytes]:
    """What a question is answered with."""
    decoder = aedat.Decoder(path)
    number, said = stream(decoder)
    if question == ["about"]:
        return {"height": said["height"], "width": said["width"]}, b""
    parts = [np.empty((4, 0), np.int64), *packets(decoder, number, most, "repair" in question)]
    found = np.concatenate(parts, axis=1)
    return {"type": found.dtype.str, "shape": list(found.shape)}, found.tobytes()


def limit_memory(most: int) -> None:
    """What a packet of a damaged file unpacks to shall not be all that there is."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (FLOOR + 8 * most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        pass  # Windows has no such limit, and another one may be lower


def main() -> None:
    path, most = sys.argv[1], int(sys.argv[2])
    limit_memory(most)
    for line in sys.stdin:
        try:
            said, content = answer(path, most, line.split())
        except Exception as error:  # whatever the library raises: who asked gives it a name
            said, content = {"error": f"{type(error).__name__}: {error}"[:500]}, b""
        sys.stdout.buffer.write(json.dumps(said | {"bytes": len(content)}).encode() + b"\n" + content)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

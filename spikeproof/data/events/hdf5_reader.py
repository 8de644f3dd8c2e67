"""What does a process of its own read from an HDF5 file? Whoever asks can end it, if the file makes it run for ever.

Started as ``python -P hdf5_reader.py FILE NAME ...``; each NAME is a data set. It knows nothing of spikeproof, so that
it starts in a moment. A question is a line: ``about``, or the number of a data set and a row ("all" for every row). An
answer is a line of JSON and, if there is one, the bytes of an array.
"""

import json
import sys
from typing import Any

import h5py
import numpy as np

MOST = 1 << 30  # bytes of one answer


def about(file: Any, names: list[str]) -> dict[str, Any]:
    """Which of `names` there are, their shapes and types, and how they are packed where that cannot be undone here.

    Nothing of them is read.
    """
    found = {name: file.get(name) for name in names}
    there = {name: data for name, data in found.items() if isinstance(data, h5py.Dataset)}
    return {
        "absent": [name for name in names if name not in there],
        "shapes": {name: list(data.shape or ()) for name, data in there.items()},
        "types": {name: data.dtype.str for name, data in there.items()},
        "filters": {name: packed for name, data in there.items() if (packed := unknown_filter(data))},
    }


def unknown_filter(data: Any) -> str:
    """The first filter of a data set that is not installed, by number and name; the file may be whole."""
    how = data.id.get_create_plist()
    for code, _, _, label in (how.get_filter(place) for place in range(how.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            return f"{code} ({label.decode(errors='replace') or 'no name'})"
    return ""


def rows(file: Any, name: str, row: str) -> np.ndarray:
    """A row of a data set, or all of it; refused before it is read if it is too large."""
    data = file[name]
    if row == "all" and data.size * data.dtype.itemsize > MOST:
        raise ValueError(f"{name} has {data.size:,} values")
    return np.ascontiguousarray(data[:] if row == "all" else data[int(row)])


def answer(path: str, names: list[str], question: list[str]) -> tuple[dict[str, Any], bytes]:
    """What a question is answered with; the file is open no longer than that."""
    with h5py.File(path, "r") as file:
        if question == ["about"]:
            return about(file, names), b""
        found = rows(file, names[int(question[0])], question[1])
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{names[int(question[0])]} holds {found.dtype}, and no numbers")
    return {"type": found.dtype.str, "shape": list(found.shape)}, found.tobytes()


def limit_memory() -> None:
    """What h5py takes for a damaged file shall not be all that there is."""
    try:
        import resource

        most = 4 * MOST
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        pass  # Windows has no such limit, and another one may be lower


def main() -> None:
    limit_memory()
    path, *names = sys.argv[1:]
    for line in sys.stdin:
        try:
            said, content = answer(path, names, line.split())
        except Exception as error:  # whatever h5py raises: who asked gives it a name
            said, content = {"error": f"{type(error).__name__}: {error}"[:500]}, b""
        sys.stdout.buffer.write(json.dumps(said | {"bytes": len(content)}).encode() + b"\n" + content)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

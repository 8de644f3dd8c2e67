"""What does a process of its own read from an HDF5 file? Whoever asks can end it, if the file makes it run for ever.

Started as ``python -P hdf5_reader.py FILE NAME ...``; each NAME is a data set, or a field of one. It knows nothing of
spikeproof, so that it starts in a moment. A question is a line: ``about``, or the number of a data set and a row ("all"
for every row). An answer is a line of JSON and, if there is one, the bytes of an array.
"""

import json
import sys
from typing import Any

import h5py
import numpy as np

MOST = 1 << 30  # bytes of one answer


def part(file: Any, name: str) -> tuple[Any, str | None] | None:
    """The data set of that name, or the one that has a field of that name, and the field; None where there is none."""
    if isinstance(data := file.get(name), h5py.Dataset):
        return data, None
    parent, _, field = name.rpartition("/")
    data = file.get(parent) if parent else None
    if isinstance(data, h5py.Dataset) and field in (data.dtype.names or ()):
        return data, field
    return None


def about(file: Any, names: list[str]) -> dict[str, Any]:
    """Which of `names` there are, their shapes and types, and how they are packed where that cannot be undone here.

    And the `geometry` that the file states, width x height. Nothing of the data is read.
    """
    there = {name: found for name in names if (found := part(file, name))}
    return {
        "absent": [name for name in names if name not in there],
        "shapes": {name: list(data.shape or ()) for name, (data, _) in there.items()},
        "types": {name: type_of(data, field).str for name, (data, field) in there.items()},
        "filters": {name: packed for name, (data, _) in there.items() if (packed := unknown_filter(data))},
        "geometry": str(file.attrs.get("geometry", ""))[:50],
    }


def type_of(data: Any, field: str | None) -> Any:
    return data.dtype if field is None else data.dtype[field]


def unknown_filter(data: Any) -> str:
    """The first filter of a data set that is not installed, by number and name; the file may be whole."""
    how = data.id.get_create_plist()
    for code, _, _, label in (how.get_filter(place) for place in range(how.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            return f"{code} ({label.decode(errors='replace') or 'no name'})"
    return ""


def rows(file: Any, name: str, row: str) -> np.ndarray:
    """A row of a data set, or all of it; refused before it is read if it is too large."""
    found = part(file, name)
    if found is None:
        raise KeyError(name)
    data, field = found
    if row == "all" and data.size * data.dtype.itemsize > MOST:
        raise ValueError(f"{name} has {data.size:,} values")
    read = data if field is None else data.fields(field)
    return np.ascontiguousarray(read[:] if row == "all" else read[int(row)])


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

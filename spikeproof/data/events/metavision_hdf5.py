"""How are the HDF5 files of Metavision read, which Prophesee's cameras are recorded into?"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from spikeproof.choices import UserError
from spikeproof.data.events.asked import Asked
from spikeproof.data.events.hdf5 import refuse_absent
from spikeproof.data.events.records import whole_numbers
from spikeproof.data.events.streams import Events, Sensor, agreed, checked
from spikeproof.untrusted.archives import allowed
from spikeproof.untrusted.words import printable

COLUMNS = {name: f"CD/events/{name}" for name in ("t", "x", "y", "p")}
ECF = str(0x8ECF)  # the number of Prophesee's own filter
HINT = "convert it to .dat, metavision_file_to_dat of OpenEB does it, or to .npz with write_events"


def read_metavision_hdf5(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of ``CD/events``, a table of x, y, p (0 off, 1 on) and t in us; triggers are passed over.

    The attribute geometry is the size of the sensor; a `sensor` of another size is refused then, but for `repair`, with
    which it counts instead. Metavision packs the table by a filter of its own, ECF, which no package installs: it has
    to be built (github.com/prophesee-ai/hdf5_ecf), and its folder put into HDF5_PLUGIN_PATH. Another process reads.
    Source: https://docs.prophesee.ai/stable/data/file_formats/hdf5.html.
    """
    refuse_absent(path)
    asked = Asked(path, tuple(COLUMNS.values()))
    about = asked.about()
    if about["absent"]:
        raise UserError(
            f"{path}: it has no {', '.join(about['absent'])}, as files of Metavision have; SpikeFile reads SHD and SSC"
        )
    for packed in about["filters"].values():
        raise UserError(f"{path}: {_unpacked_by(packed)}")
    found = agreed(sensor, _sensor_named(about["geometry"], path), path, repair=repair)
    if found is None:
        raise UserError(f"{path}: it states no geometry; give it, sensor=Sensor(height=..., width=...)")
    _refuse_large(path, about)
    columns = {name: asked.rows(place) for name, place in COLUMNS.items()}
    t, x, y, p = whole_numbers(columns, path, repair=repair)
    return checked(t, x, y, p, found, path, repair=repair)


def _unpacked_by(packed: str) -> str:
    if packed.startswith(f"{ECF} "):
        return (
            f"it is packed by Prophesee's filter ECF ({ECF}), which is not installed: build it from "
            f"github.com/prophesee-ai/hdf5_ecf and put its folder into HDF5_PLUGIN_PATH; or {HINT}"
        )
    return (
        f"it is packed by the HDF5 filter {printable(packed)}, which is not installed: pip install hdf5plugin, and put "
        f"its folder into HDF5_PLUGIN_PATH; or {HINT}"
    )


def _sensor_named(geometry: str, path: Path) -> Sensor | None:
    sides = re.fullmatch(r"(\d{1,9})x(\d{1,9})", geometry)
    if sides is None:
        return None
    try:
        return Sensor(height=int(sides[2]), width=int(sides[1]))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _refuse_large(path: Path, about: dict[str, Any]) -> None:
    """Raise `UserError` for a table that would be far larger than its file, before any of it is unpacked."""
    sizes = [
        int(np.prod(shape)) * np.dtype(kind).itemsize
        for shape, kind in zip(about["shapes"].values(), about["types"].values(), strict=True)
    ]
    if sum(sizes) > (most := allowed(path.stat().st_size)):
        raise UserError(f"{path}: it unpacks to {sum(sizes):,} bytes, and {most:,} are allowed for a file of its size")

"""How are the files of AEDAT 4 read, which iniVation's cameras are recorded into?"""

from importlib.util import find_spec
from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.data.events.asked import Asked
from spikeproof.data.events.streams import Events, Sensor, agreed, checked
from spikeproof.untrusted.archives import allowed
from spikeproof.untrusted.words import told

FIRST = b"#!AER-DAT4.0\r\n"


def read_aedat4(path: Path, sensor: Sensor | None, *, repair: bool = False) -> Events:
    """A recording of the one stream of events of a file, packed by LZ4 or Zstandard or not; times are us since 1970.

    The file states the size of the sensor; a `sensor` of another size is refused, but for `repair`, with which it
    counts instead. `repair` also keeps what stands before the first damaged packet. The library aedat reads, in another
    process, which is ended where a damaged file would keep it for ever, crash it or fill the memory.
    Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    with path.open("rb") as stream:
        first = stream.read(len(FIRST))
    if first != FIRST:
        raise UserError(f"{path}: it starts with {told(first)}, not with #!AER-DAT4.0")
    if find_spec("aedat") is None:  # an extra: only these files need it
        raise UserError(
            f"{path} is read by the library aedat, which is not installed: pip install 'spikeproof[events]'"
        )
    most = allowed(path.stat().st_size)
    asked = Asked(path, (str(most),), program="aedat4_reader.py", library="aedat", what="AEDAT 4 file")
    said = asked.about()
    try:
        named = Sensor(height=said["height"], width=said["width"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    found = agreed(sensor, named, path, repair=repair)
    assert found
    t, x, y, p = asked.array("events repair" if repair else "events")
    return checked(t, x, y, p, found, path, repair=repair)

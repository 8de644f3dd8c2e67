"""How fast are files of events read, and made into frames? `python -m benchmarks.event_files`, on one core.

Synthetic files, one long recording in every format and many short ones; and the N-MNIST files in $SPIKEPROOF_DATA, if
there are any. Files come from the memory of the operating system, and are checked as always.
"""

import argparse
import io
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy.io
import torch

from benchmarks.records import write_json
from spikeproof.data import Framing
from spikeproof.data.events.files import read_events
from spikeproof.data.events.hdf5 import SpikeFile
from spikeproof.data.events.npz import write_npz
from spikeproof.data.events.streams import Events, Sensor, checked
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json

SENSOR = Sensor(height=128, width=128)
SHORT, FILES = 4000, 50  # events of a recording of N-MNIST, and how many such
SPIKES = 8000  # of a recording of SHD
PACKET = 1000  # events
REPEATS = 5
REAL = 500  # files
Reading = Callable[[], int]  # reads files, and says how many events they hold


def random_events(count: int, sensor: Sensor = SENSOR) -> Events:
    """Events at random places, 1 us apart on average but before 2^23 us, which is all that .bin can hold."""
    draw = np.random.default_rng(0)
    x, y, p = (draw.integers(0, end, count) for end in (sensor.width, sensor.height, 2))
    return checked(np.sort(draw.integers(0, min(count, 2**23), count)), x, y, p, sensor, "benchmark")


def contents(events: Events) -> dict[str, bytes]:
    """The recording in each of the published formats, by a file name."""
    t, x, y, p = (values.astype(np.uint32) for values in (events.t, events.x, events.y, events.p))
    davis = {"ts": t, "x": x.astype("u1"), "y": (SENSOR.height - 1 - y).astype("u1"), "pol": p.astype("u1")}
    scipy.io.savemat(asl := io.BytesIO(), davis, do_compression=True, oned_as="column")
    return {
        "N-MNIST.bin": np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1).astype("u1").tobytes(),
        "CIFAR10-DVS.aedat": b"#!AER-DAT2.0\r\n" + pairs((127 - x) << 8 | (127 - y) << 1 | (1 - p), t, ">u4"),
        "DVS128-Gesture.aedat": b"#!AER-DAT3.1\r\n#Source 0: DVS128\r\n#!END-HEADER\r\n"
        + b"".join(packets(x << 17 | y << 2 | p << 1 | 1, t)),
        "Metavision.dat": b"% Version 2\n% Height 128\n% Width 128\n\x0c\x08" + pairs(t, p << 28 | y << 14 | x, "<u4"),
        "ASL-DVS.mat": asl.getvalue(),
    }


def pairs(first: np.ndarray, second: np.ndarray, dtype: str) -> bytes:
    return np.stack([first, second], axis=1).astype(dtype).tobytes()


def packets(data: np.ndarray, t: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(t), PACKET):
        part = pairs(data[start : start + PACKET], t[start : start + PACKET], "<u4")
        yield struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, *[len(part) // 8] * 3) + part


def write_spikes(path: Path, events: Events) -> None:
    """The recording in many short ones, as SHD has them; needs h5py."""
    import h5py

    parts = np.array_split(np.arange(len(events)), max(1, len(events) // SPIKES))
    with h5py.File(path, "w") as file:
        for name, values in (("times", (events.t * 1e-6).astype("f2")), ("units", events.x.astype("u2"))):
            data = file.create_dataset(f"spikes/{name}", (len(parts),), h5py.vlen_dtype(values.dtype))
            for row, part in enumerate(parts):
                data[row] = values[part]
        file["labels"] = np.zeros(len(parts), "u2")


def readings(count: int, folder: Path) -> dict[str, Reading]:
    """What is timed, by name; the files are written into `folder`."""
    events = random_events(count)
    files = contents(events)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_npz(folder / "ours.npz", events)
    found = {name: reading([folder / name]) for name in (*files, "ours.npz")}
    short = contents(events.where(np.arange(min(SHORT, count))))["N-MNIST.bin"]
    paths = [folder / f"{number}.bin" for number in range(FILES)]
    for path in paths:
        path.write_bytes(short)
    found[f"{FILES} N-MNIST.bin of {SHORT}"] = reading(paths)
    try:
        write_spikes(folder / "SHD.h5", events)
    except ImportError:
        pass
    else:
        file = SpikeFile(folder / "SHD.h5")
        found[f"SHD.h5, recordings of {SPIKES}"] = lambda: sum(len(file[row]) for row in range(len(file)))
    real = sorted(Path(os.environ.get("SPIKEPROOF_DATA") or "nowhere").glob("NMNIST/T*/*/*.bin"))[:REAL]
    return found | ({f"{len(real)} published N-MNIST files": reading(real)} if real else {})


def framings(count: int) -> dict[str, Reading]:
    """Frames of one long recording, and of a batch of short ones."""
    found: dict[str, Reading] = {}
    events, short = random_events(count), random_events(SHORT, Sensor(height=34, width=34))
    for what, recordings in (("one recording", [events]), (f"{FILES} of N-MNIST's size", [short] * FILES)):
        for framing in (Framing(by="time"), Framing(by="number"), Framing(span=1000, pool=2, values="binary")):
            how = "by number" if framing.by == "number" else f"by time{', pooled' if framing.pool > 1 else ''}"
            found[f"frames {how}, {what}"] = framed(framing, recordings)
    return found


def framed(framing: Framing, recordings: list[Events]) -> Reading:
    def run() -> int:
        framing(recordings)
        return sum(map(len, recordings))

    return run


def reading(paths: list[Path]) -> Reading:
    return lambda: sum(len(read_events(path, SENSOR)) for path in paths)


def speed(read: Reading) -> float:
    """Events a second of the processor's time, of the fastest of several readings."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        count = read()
        times.append(time.process_time() - start)
    return count / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="of a long recording (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, read in (readings(options.events, Path(folder)) | framings(options.events)).items():
            speeds[name] = speed(read) / 1e6
            print(f"{name:36} {speeds[name]:8.1f} million events a second")
    if options.out:
        write_json(options.out, {"million_events_a_second": speeds, "environment": as_json(environment())})


if __name__ == "__main__":
    main()

"""What does a damaged file do? It is refused, says the same, or is taken for another; in a child with limits."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from benchmarks.campaigns.children import tried
from benchmarks.campaigns.journal import Journal
from spikeproof.attacks import PGD, Linf
from spikeproof.choices import UserError
from spikeproof.cli.files import protocol_in, recipe_in
from spikeproof.configs import to_config
from spikeproof.data import Events, ImageFolder, Sensor, SpikeFile, read_events, write_events
from spikeproof.evaluation import Protocol, Suite, evaluate
from spikeproof.runs import Run, environment
from spikeproof.runs.digests import digest_of_arrays
from spikeproof.runs.verdict_files import read_verdicts
from spikeproof.runs.weights import load_model, read_weights, write_model
from spikeproof.snn import MLP, Network

BATCH, SECONDS, MEMORY = 25, 60, 2.0  # mutants in a child, its time, and its GiB beyond those of this process
SENSOR = Sensor(height=12, width=16)
CHECKED = "checked"  # formats in which whatever was changed can be seen


@dataclass(frozen=True)
class Format:
    """A kind of file: `written` makes one at a path, `read` gives what it holds, as something that can be compared.

    `bare`: there is no checksum, and plausible flips cannot be seen.
    """

    written: Callable[[Path], None]
    read: Callable[[Path], Any]
    bare: bool = False


def formats() -> dict[str, tuple[str, Format]]:
    """The name of a file, and its format."""
    listed: dict[str, tuple[str, Format]] = {
        "events npz": ("a.npz", Format(lambda path: write_events(path, recording()), events_in)),
        "events bin": ("a.bin", Format(_bin, events_in, bare=True)),
        "events dat": ("a.dat", Format(_dat, events_in, bare=True)),
        "events raw EVT2": ("a.raw", Format(lambda path: _raw(path, 2), events_in, bare=True)),
        "events raw EVT3": ("a.raw", Format(lambda path: _raw(path, 3), events_in, bare=True)),
        "events HDF5": ("a.h5", Format(_hdf5, _spikes, bare=True)),
        "weights pt": ("w.pt", Format(lambda path: torch.save(_tensors(), path), _weights)),
        "weights safetensors": ("w.safetensors", Format(lambda path: save_file(_tensors(), path), _weights, bare=True)),
        "picture PNG": ("train/cat/a.png", Format(_picture, _pixels)),
        "picture JPEG": ("train/cat/a.jpg", Format(_picture, _pixels, bare=True)),
        "recipe YAML": ("r.yaml", Format(_recipe, lambda path: to_config(recipe_in(path)), bare=True)),
        "protocol YAML": ("p.yaml", Format(_protocol, lambda path: to_config(protocol_in(path)), bare=True)),
    }
    for file in ("model.json", "model.safetensors"):
        listed[f"run {file}"] = (file, Format(_run, _network))
    for file in ("verdicts.json", "verdicts.npz"):
        listed[f"run {file}"] = (file, Format(_evaluated, _verdicts))
    return listed


def campaign(journal: Journal, trials: int, out_of_time: Callable[[], bool], only: str | None = None) -> None:
    """So many mutants of every format."""
    for name, (file, format_) in formats().items():
        if only not in (None, name):
            continue
        tally = journal.tally(f"damage to {name}", trials)
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            format_.written(path)
            whole = path.read_bytes()
            expected = tried(partial(format_.read, path), SECONDS)[1]  # it may start threads, which no fork survives
            if expected is None:
                raise RuntimeError(f"{name}: what is whole cannot be read")
            while tally.trials < trials and not out_of_time():
                first = tally.trials
                numbers = range(first, min(first + BATCH, trials))
                for end, said in _batch(path, format_, whole, expected, numbers, name):
                    tally.note(end, said)
                journal.write()


def _batch(
    path: Path, format_: Format, whole: bytes, expected: Any, numbers: range, name: str
) -> list[tuple[str, str]]:
    """How these mutants ended: all in one child, or, where that does not live, each in its own."""
    end, found = tried(lambda: [one(path, format_, whole, expected, n, name) for n in numbers], SECONDS, MEMORY)
    if found is not None:
        return list(found)
    if len(numbers) == 1:
        return [("hangs" if end.slow else "crashes", f"{name} {numbers[0]} {end.status} {end.said[-200:]}")]
    return [each for n in numbers for each in _batch(path, format_, whole, expected, range(n, n + 1), name)]


def one(path: Path, format_: Format, whole: bytes, expected: Any, number: int, name: str) -> tuple[str, str]:
    """How reading one mutant ended."""
    mutant = mutated(whole, Random(f"{name} {number}"))
    path.write_bytes(mutant)
    try:
        found = format_.read(path)
    except UserError as error:
        lines = str(error).count("\n") + 1
        return ("refused", "") if lines <= 3 and len(str(error)) < 1000 else ("refused at length", f"{number} {error}")
    except Exception as error:
        return "tracebacks", f"{number} {type(error).__name__}: {error}"
    finally:
        path.write_bytes(whole)
    if found == expected:
        return "the same", ""
    return ("plausible, no checksum", "") if format_.bare else ("silently accepted", f"{number}")


def mutated(whole: bytes, random: Random) -> bytes:
    """The bytes with one to four damages."""
    changed = bytearray(whole)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        DAMAGES[random.randrange(len(DAMAGES))](changed, random)
    return bytes(changed)


def _flip(b: bytearray, random: Random) -> None:
    if b:
        b[random.randrange(len(b))] ^= 1 << random.randrange(8)


def _set(b: bytearray, random: Random) -> None:
    if b:
        b[random.randrange(len(b))] = random.choice((0, 255, 127, 128, random.randrange(256)))


def _cut(b: bytearray, random: Random) -> None:
    del b[random.randrange(len(b) + 1) :]


def _drop(b: bytearray, random: Random) -> None:
    start = random.randrange(len(b) + 1)
    del b[start : start + random.randrange(1, 65)]


def _twice(b: bytearray, random: Random) -> None:
    start = random.randrange(len(b) + 1)
    b[start:start] = b[start : start + random.randrange(1, 65)]


def _noise(b: bytearray, random: Random) -> None:
    start = random.randrange(len(b) + 1)
    b[start : start + 8] = random.randbytes(random.randrange(1, 17))


def _number(b: bytearray, random: Random) -> None:
    """Another number where digits stand: what somebody would edit."""
    places = [i for i, c in enumerate(b) if 48 <= c <= 57]
    if places:
        at = random.choice(places)
        b[at : at + 1] = random.choice(
            (b"9", b"0", b"-1", b"1e999", b"2147483648", b"9" * 400, b"NaN", b"[" * 200, b"null")
        )


DAMAGES = (_flip, _flip, _set, _cut, _drop, _twice, _noise, _number)


def recording(count: int = 60) -> Events:
    """A small recording."""
    random = np.random.default_rng(0)
    t, x, y, p = (np.sort(random.integers(0, 10**5, count)), *(random.integers(0, end, count) for end in (16, 12, 2)))
    return Events(t=t, x=x.astype(np.int16), y=y.astype(np.int16), p=p.astype(np.uint8), sensor=SENSOR)


def events_in(path: Path) -> Any:
    found = read_events(path, SENSOR)
    return [column.tolist() for column in (found.t, found.x, found.y, found.p)], found.sensor


def _bin(path: Path) -> None:
    e = recording()
    word = e.p.astype(np.int64) << 23 | e.t
    rows = np.stack([e.x, e.y, *(word >> shift & 255 for shift in (16, 8, 0))], 1)
    path.write_bytes(rows.astype(np.uint8).tobytes())


def _dat(path: Path) -> None:
    e = recording()
    word = e.x.astype(np.int64) | e.y.astype(np.int64) << 14 | e.p.astype(np.int64) << 28
    body = np.stack([e.t, word], 1).astype("<u4").tobytes()
    path.write_bytes(b"% Version 2\n% Height 12\n% Width 16\n" + bytes([0, 8]) + body)


def _raw(path: Path, version: int) -> None:
    words: list[int] = []
    for t, x, y, p in zip(
        *(c.astype(int).tolist() for c in (recording().t, recording().x, recording().y, recording().p)), strict=True
    ):
        if version == 2:
            words += [8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y]
        else:
            words += [8 << 12 | t >> 12, 6 << 12 | (t & 4095), y, 2 << 12 | p << 11 | x]
    header = f"% evt {version}.0\n% geometry 16x12\n% end\n".encode()
    path.write_bytes(header + np.array(words, "<u4" if version == 2 else "<u2").tobytes())


def _hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, kind, values in (("times", "f4", np.linspace(0.1, 0.9, 20)), ("units", "i8", np.arange(20))):
            data = file.create_dataset(f"spikes/{name}", (2,), h5py.vlen_dtype(np.dtype(kind)))
            data[0] = data[1] = values
        file.create_dataset("labels", data=np.array([3, 4]))


def _spikes(path: Path) -> Any:
    file = SpikeFile(path)
    return [[(e.t.tolist(), e.x.tolist()) for e in (file[i] for i in range(len(file)))], file.labels.tolist()]


def _tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).state_dict()


def _weights(path: Path) -> Any:
    return _listed(read_weights(path))


def _listed(tensors: dict[str, torch.Tensor]) -> Any:
    return [(name, str(t.dtype), str(t.tolist())) for name, t in sorted(tensors.items())]


def _picture(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    (path.parent.parent / "dog").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path.parent.parent / "dog" / "b.png")
    Image.fromarray(pixels).save(path)


def _pixels(path: Path) -> Any:
    data = ImageFolder(folder=".", classes=("cat", "dog"), size=16, resize=None, crop="centre", validation_images=1)
    images = data.published("train", path.parent.parent.parent)
    return images.batch([0])[0].tolist()


def _recipe(path: Path) -> None:
    path.write_text(
        "name: tiny\ndata: Digits\nobjective:\n  class_path: TRADES\n  init_args: {beta: 6.0}\ntraining: {epochs: 2}\n"
    )


def _protocol(path: Path) -> None:
    path.write_text("threats:\n- class_path: Linf\n  init_args: {eps: 8/255}\nsuite: quick\nimages: 10\n")


def _run(path: Path) -> None:
    network = Network(architecture=MLP(hidden=(4,)), steps=2)
    model = network.build((1, 4, 4), 3)
    write_model(Run(path.parent), model.state_dict(), network, (1, 4, 4), 3, (0.0,), (1.0,))


def _network(path: Path) -> Any:
    model = load_model(path.parent)
    return [str(model), _listed(model.state_dict())]


def _evaluated(path: Path) -> None:
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    protocol = Protocol(threats=Linf(0.1), suite=Suite(name="one", attacks=(PGD(steps=2),)))
    torch.manual_seed(0)
    found = evaluate(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), (x, torch.arange(6) % 3), protocol)
    about = {
        "data": {},
        "resplit": False,
        "part": "test",
        "seed": 0,
        "protocol": to_config(protocol),
        "fingerprint": "",
    }
    run = Run(path.parent)
    run.write_arrays("verdicts.npz", found.arrays())
    digest = digest_of_arrays(found.arrays())
    run.write(found.record(**about, arrays_sha256=digest, seconds=1.0, environment=environment()))


def _verdicts(path: Path) -> Any:
    record, arrays = read_verdicts(Run(path.parent))
    return json.dumps(to_config(record), sort_keys=True, default=str), {n: a.tolist() for n, a in arrays.items()}

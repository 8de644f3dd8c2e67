"""Does a result survive a kill of its command, at every rename, unlink and sync? Killed, started again, compared."""

import hashlib
import importlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open

from benchmarks.campaigns.children import End, tried
from benchmarks.campaigns.journal import Journal, Tally
from spikeproof.attacks import Linf
from spikeproof.cli import main
from spikeproof.configs import to_config
from spikeproof.conversion import Calibration
from spikeproof.data import Digits
from spikeproof.snn import IF, MLP, Network, ReLU
from spikeproof.training import SGD, Recipe, Selection, Training

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
WATCHED = ("replace", "rename", "unlink", "remove", "fsync")
SECONDS = 300  # for one command on a busy machine
TIMES = ("seconds", "started", "finished", "date", "environment", "time")
IMPORTED = ("sklearn.datasets", "torch._dynamo")  # late, by the commands: here once, and not in every child
DIGEST = "sha256"  # of a record, its times included
QUICKLY = ("--suite", "quick", "--images", "8", "--eps", "0.05", "--device", "cpu")
DRAWN = ("--certificate.n", "64", "--certificate.first", "8", "--images", "8", "--device", "cpu")


class Command(NamedTuple):
    """Words of the command line, in a folder that `before` has made."""

    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()


def tiny() -> dict[str, Recipe]:
    """A spiking network that classifies most digits after a moment's training, and one that begins as an ANN."""
    body = MLP(hidden=(32,))
    spiking, ann = Network(architecture=body, steps=2), Network(architecture=body, neuron=ReLU(), steps=1)
    data = Digits(train_images=400, validation_images=40)
    training = Training(
        epochs=3, batch=50, optimiser=SGD(learning_rate=0.5), selection=Selection(threat=Linf(0.05), images=8)
    )
    standard = Recipe(name="standard", data=data, network=spiking, training=training)
    converted = replace(
        standard,
        name="converted",
        network=replace(spiking, neuron=IF(learn_threshold=True)),
        conversion=Calibration(batches=2, batch=50, steps=8),
        ann=replace(standard, name="ANN", network=ann),
    )
    return {recipe.name: recipe for recipe in (standard, converted)}


def commands(configs: Path) -> dict[str, Command]:
    """The commands that write, of the recipes in the folder `configs`."""
    standard, converted = (str(configs / f"{name}.yaml") for name in ("standard", "converted"))
    train = ("train", "--config", standard, "--out", "run", "--device", "cpu")
    return {
        "train": Command(train),
        "evaluate": Command(("evaluate", "run", *QUICKLY), (train,)),
        "convert": Command(("train", "--config", converted, "--out", "run", "--device", "cpu")),
        "compare": Command(("compare", standard, "--out", "runs", *QUICKLY)),
        "certify": Command(("certify", "run", *DRAWN), (train,)),
    }


class Blow(NamedTuple):
    """The signal that a process sends itself at operation `number` on files, before or after it."""

    number: int
    after: bool
    signal: str


def watched(words: tuple[str, ...], blow: Blow | None) -> list[str]:
    """Run the command; which operations it did on files of the working directory, each with whether the bytes it names
    had been synced."""
    here = os.path.realpath(os.getcwd()) + os.sep
    done: list[str] = []
    synced: set[str] = set()

    def wrapped(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*given: Any, **named: Any) -> Any:
            number = len(done)
            source = os.readlink(f"/proc/self/fd/{given[0]}") if isinstance(given[0], int) else os.fspath(given[0])
            source = os.path.realpath(source)
            if not source.startswith(here):  # such as what compilers keep
                return own(*given, **named)
            if name == "fsync":
                synced.add(source)
            unsynced = name in ("replace", "rename") and source not in synced
            done.append(f"{name} unsynced" if unsynced else name)
            struck = blow is not None and blow.number == number
            if struck and blow is not None and not blow.after:
                os.kill(os.getpid(), SIGNALS[blow.signal])
            returned = own(*given, **named)
            if struck and blow is not None and blow.after:
                os.kill(os.getpid(), SIGNALS[blow.signal])
            return returned

        return operation

    for name in WATCHED:
        setattr(os, name, wrapped(name, getattr(os, name)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(list(words))
    return done


def inside(folder: Path, call: Callable[[], Any]) -> Callable[[], Any]:
    """`call`, with `folder` as the working directory."""

    def moved() -> Any:
        os.chdir(folder)
        return call()

    return moved


def content(folder: Path) -> dict[str, str]:
    """A digest of every file's results: of tensors, arrays and numbers, and not of the times that they took."""
    return {str(f.relative_to(folder)): _digest(f) for f in sorted(folder.rglob("*")) if f.is_file()}


def _digest(file: Path) -> str:
    whole = hashlib.sha256()
    for piece in _pieces(file):
        whole.update(piece)
    return whole.hexdigest()


def _pieces(file: Path) -> Iterator[bytes]:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="numpy") as stream:
            for name in sorted(stream.keys()):
                yield name.encode() + stream.get_tensor(name).tobytes()
    elif file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                yield name.encode() + arrays[name].tobytes()
    elif file.suffix in (".json", ".jsonl"):
        for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            yield json.dumps(_without_times(json.loads(line)), sort_keys=True).encode()
    else:
        yield b"there"  # a page has the times of its making in it


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k != DIGEST and not any(time in k for time in TIMES)}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def campaign(journal: Journal, trials: int, out_of_time: Callable[[], bool], only: str | None = None) -> None:
    """So many kills of each command, one of each in turn; what is found goes into the journal after each."""
    with tempfile.TemporaryDirectory() as place:
        configs = Path(place)
        for name, recipe in tiny().items():
            (configs / f"{name}.yaml").write_text(json.dumps(to_config(recipe)["init_args"]))
        for module in IMPORTED:
            importlib.import_module(module)
        victims = []
        for name, command in commands(configs).items():
            if only in (None, name) and not out_of_time():
                victims.append(prepared(journal, Path(place, name), name, command, trials))
        while not out_of_time() and (left := [victim for victim in victims if victim.tally.trials < trials]):
            victim = min(left, key=lambda victim: victim.tally.trials)
            victim.tally.note(*struck(victim, victim.blow()))
            journal.write()


class Victim(NamedTuple):
    """A command that is killed: the folder `start` it begins in, how many operations it does, what it leaves."""

    name: str
    command: Command
    start: Path
    operations: int
    expected: dict[str, str]
    tally: Tally

    def blow(self) -> Blow:
        """The next one: every operation is struck once before any is struck twice."""
        number = self.tally.trials
        random = Random(f"{self.name} {number}")
        places = Random(self.name).sample(range(self.operations), self.operations)
        return Blow(places[number % len(places)], random.random() < 0.5, random.choice(list(SIGNALS)))


def prepared(journal: Journal, place: Path, name: str, command: Command, trials: int) -> Victim:
    """The command as it is when nobody kills it; whether it renames unsynced bytes goes into the journal."""
    start, whole = place / "start", place / "whole"
    start.mkdir(parents=True)
    for words in command.before:
        _must(tried(inside(start, lambda words=words: main(list(words))), SECONDS)[0])
    shutil.copytree(start, whole)
    end, done = tried(inside(whole, lambda: watched(command.words, None)), SECONDS)
    _must(end)
    sync = journal.tally(f"order of writes of {name}", 1)
    if not sync.trials:
        unsynced = sum(each.endswith("unsynced") for each in done)
        sync.note("renames of unsynced bytes" if unsynced else "all synced", str(unsynced or ""))
    return Victim(name, command, start, len(done), content(whole), journal.tally(f"kills of {name}", trials))


def struck(victim: Victim, blow: Blow) -> tuple[str, str]:
    """How one kill ended: "as before", or what was wrong, and words about it."""
    here, words = Path(tempfile.mkdtemp(dir=victim.start.parent)), victim.command.words
    try:
        shutil.copytree(victim.start, here, dirs_exist_ok=True)
        first, _ = tried(inside(here, lambda: watched(words, blow)), SECONDS)
        second, _ = tried(inside(here, lambda: main(list(words))), SECONDS)
        if first.slow or second.slow:
            return "hangs", f"{blow}"
        if first.traceback or second.traceback:
            return "tracebacks", f"{blow} {(first if first.traceback else second).said[-300:]}"
        if second.status:
            return "not gone on", f"{blow} {second.said[-300:]}"
        return _compared(content(here), victim.expected, blow)
    finally:
        shutil.rmtree(here)


def _compared(found: dict[str, str], expected: dict[str, str], blow: Blow) -> tuple[str, str]:
    if changed := [name for name, digest in expected.items() if found.get(name) != digest]:
        return "results changed", f"{blow} {changed}"
    if left := sorted(set(found) - set(expected)):
        return "as before, files left behind", f"{blow} {left}"
    return "as before", ""


def _must(end: End) -> None:
    if end.status:
        raise RuntimeError(f"the command itself fails: {end.said[-600:]}")

"""What does one run leave on disk, and how is it read back without ever seeing half a file?

A run is a folder: ``run.json`` (choices, versions, seed, machine, command), ``metrics.jsonl`` (one line an
epoch), ``model.safetensors`` + ``model.json`` (weights and how to rebuild the network), ``checkpoint.safetensors``
(what training needs to go on), ``verdicts.json`` + ``verdicts.npz`` (per image), ``examples.npz`` (pictures for
the report). Every file is written beside its place and renamed, so it is there whole or not at all.
"""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spikeproof.specs import UserError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes the place of `path` only if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Run:
    """One run folder. Reading raises `UserError` that names the damaged or missing file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def __contains__(self, file: str) -> bool:
        return (self.path / file).is_file()

    def write_text(self, file: str, text: str) -> None:
        with written_whole(self.path / file) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_json(self, file: str, value: Any) -> None:
        self.write_text(file, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def read_json(self, file: str) -> Any:
        try:
            return json.loads(self._existing(file).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._damaged(file, error) from error

    def write_lines(self, file: str, rows: list[dict[str, Any]]) -> None:
        self.write_text(file, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def read_lines(self, file: str) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in self._existing(file).read_text(encoding="utf-8").splitlines()]
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._damaged(file, error) from error

    def write_arrays(self, file: str, arrays: dict[str, np.ndarray]) -> None:
        with written_whole(self.path / file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    def read_arrays(self, file: str) -> dict[str, np.ndarray]:
        try:
            with self._existing(file).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except UserError:
            raise
        except Exception as error:  # numpy raises zipfile, zlib, OS and value errors for a damaged archive
            raise self._damaged(file, error) from error

    def write_tensors(self, file: str, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """`tensors` and, in the same file, JSON-able `facts` about them."""
        whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        with written_whole(self.path / file) as temporary:
            kept = {"facts": json.dumps(facts, allow_nan=False), "sha256": _digest(whole)}
            save_file(whole, temporary, metadata=kept)

    def read_tensors(self, file: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        try:
            with safe_open(self._existing(file), framework="pt") as stream:
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
                kept = stream.metadata() or {}
            if kept.get("sha256") != _digest(tensors):
                raise self._damaged(file, ValueError("its tensors are not those that were written"))
            return tensors, json.loads(kept.get("facts", "{}"))
        except (SafetensorError, json.JSONDecodeError, OSError) as error:
            raise self._damaged(file, error) from error

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``: name, config, seed, command, versions, machine, and ``finished`` once training ended."""
        record = self.read_json("run.json")
        wanted = {"name", "config", "seed", "finished"}
        if not isinstance(record, dict) or not wanted <= record.keys():
            raise self._damaged("run.json", ValueError(f"it has no {', '.join(sorted(wanted))}"))
        return record

    def _existing(self, file: str) -> Path:
        path = self.path / file
        if not self.path.is_dir():
            raise UserError(f"there is no run folder {self.path}")
        if not path.is_file():
            raise UserError(f"{self.path} has no {file}: not a run folder, or its command has not got so far yet")
        return path

    def _damaged(self, file: str, error: Exception) -> UserError:
        return UserError(
            f"{self.path / file} is damaged ({error}); delete the file and run the command that made it again"
        )


def find_runs(paths: list[Path]) -> list[Run]:
    """The run folders among `paths` and directly inside them, in order of name."""
    folders: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"there is no folder {path}")
        inside = sorted(p.parent for p in path.glob("*/run.json"))
        folders += [path] if (path / "run.json").is_file() else inside
    if not folders:
        raise UserError(f"no run folder in {', '.join(map(str, paths))}: a run folder holds a run.json")
    return [Run(folder) for folder in folders]


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environment() -> dict[str, Any]:
    """Versions of everything that can change a number, and the machine it was computed on."""
    packages = ("spikeproof", "torch", "numpy", "scipy", "scikit-learn", "safetensors")
    return {
        "versions": {"python": platform.python_version(), "commit": _commit()}
        | {name: metadata.version(name) for name in packages},
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _commit() -> str:
    """The commit of the source tree that runs, with "-dirty" where it was changed; "none" for an installed copy."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    """What tells whether tensors are bit for bit those that were written."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def processor() -> str:
    """The processor's model name, as the system gives it."""
    with_names = Path("/proc/cpuinfo")
    if with_names.is_file():
        for line in with_names.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

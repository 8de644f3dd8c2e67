"""What does one run leave on disk, and how is it read back without ever seeing half a file?

A run is a folder of these files, each written beside its place and renamed, so that it is whole or absent:

- ``run.json``: choices, versions, machine, command
- ``metrics.jsonl``: a line an epoch
- ``model.safetensors`` and ``model.json``: weights, and how to rebuild the network
- ``checkpoint.safetensors``: what training needs to go on
- ``verdicts.json`` and ``verdicts.npz``: an evaluation in sum, and image by image
- ``probes.json``, ``examples.npz``: why the network holds or not, and pictures for the report
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spikeproof.choices import UserError
from spikeproof.runs.json_forms import as_json, from_json
from spikeproof.runs.records import SCHEMA, AnyRecord, Epoch, Record, RunRecord
from spikeproof.runs.upgrades import BEFORE_SCHEMAS, upgraded
from spikeproof.runs.whole_files import written_whole


@dataclass(frozen=True)
class Run:
    """One run folder. Reading raises `UserError` that names the damaged or missing file."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a text is welcome

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

    def write(self, record: Record) -> None:
        """`record`, in the file of its kind, under the number of the schema."""
        self.write_json(record.FILE, {"schema": SCHEMA} | as_json(record))

    def read(self, kind: type[AnyRecord]) -> AnyRecord:
        """The record of this kind; one of spikeproof 0.1.0 is upgraded, one of a later schema is refused."""
        content = self.read_json(kind.FILE)
        try:
            schema = content.pop("schema", BEFORE_SCHEMAS)
            if schema == BEFORE_SCHEMAS:
                content = upgraded(kind.FILE, content, recordings=self.holds_recordings)
            elif schema != SCHEMA:
                raise self._of_another(kind.FILE, schema, content)
            return from_json(content, kind)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise self.unexpected(kind.FILE, error) from error

    @cached_property
    def record(self) -> RunRecord:
        """``run.json``: what was chosen, where and with what it was trained, and ``finished`` once training ended."""
        return self.read(RunRecord)

    @cached_property
    def epochs(self) -> tuple[Epoch, ...]:
        """``metrics.jsonl``, a line an epoch."""
        try:
            return tuple(from_json(row, Epoch) for row in self.read_lines("metrics.jsonl"))
        except (TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise self.unexpected("metrics.jsonl", error) from error

    @property
    def holds_recordings(self) -> bool:
        """Whether the data are recordings of event cameras: framed, or seen by the network as frames [T, P, H, W]."""
        config = self.read_json("run.json").get("config") if "run.json" in self else None
        data = config.get("data") if isinstance(config, dict) else None
        framed = isinstance(data, dict) and "framing" in (data.get("init_args") or {})
        if framed or "model.json" not in self:
            return framed
        how = self.read_json("model.json")
        try:
            return len(how.get("shape") or ()) == 4
        except (AttributeError, TypeError) as error:
            raise self.unexpected("model.json", error) from error

    def _existing(self, file: str) -> Path:
        path = self.path / file
        if not self.path.is_dir():
            raise UserError(f"there is no run folder {self.path}")
        if not path.is_file():
            raise UserError(f"{self.path} has no {file}: not a run folder, or its command has not got so far yet")
        return path

    def unexpected(self, file: str, error: Exception) -> UserError:
        """What is said of a whole file with a content that cannot be."""
        return UserError(
            f"{self.path / file} is not as spikeproof writes it ({type(error).__name__}: {error}); "
            "delete the file and run the command that made it again"
        )

    def _of_another(self, file: str, schema: Any, content: dict[str, Any]) -> UserError:
        versions = content.get("versions") or (content.get("environment") or {}).get("versions") or {}
        return UserError(
            f"{self.path / file} is of schema {schema}, written by spikeproof {versions.get('spikeproof', 'unknown')}; "
            f"this one reads schema {SCHEMA} and what 0.1.0 wrote: use the version that wrote it"
        )

    def _damaged(self, file: str, error: Exception) -> UserError:
        return UserError(
            f"{self.path / file} is damaged ({error}); delete the file and run the command that made it again"
        )


def find_runs(paths: list[Path]) -> list[Run]:
    """The run folders among `paths` and directly inside them, each once; those inside in order of name.

    Raises `UserError` for a path that neither is a run folder nor holds one.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"there is no folder {path}")
        inside = sorted(p.parent for p in path.glob("*/run.json"))
        found = [path] if (path / "run.json").is_file() else inside
        if not found:
            raise UserError(f"no run folder in {path}: a run folder holds a run.json")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    return [Run(folder) for folder in folders.values()]


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    """What tells whether tensors are bit for bit those that were written."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

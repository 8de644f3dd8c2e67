"""What does one run leave on disk, and how is it read back without ever seeing half a file?

A run is a folder of these files, each written beside its place and renamed, so that it is whole or absent:

- ``run.json``: choices, versions, machine, command
- ``metrics.jsonl``: a line an epoch
- ``model.safetensors`` and ``model.json``: weights, and how to rebuild the network
- ``checkpoint.safetensors``: what training needs to go on
- ``verdicts/SUITE-THREAT-PROTOCOL-DIGEST/``: a folder for each evaluation, which no other overwrites. Two digests of
  eight letters name the protocol, and all that the numbers depend on. In it are ``verdicts.json`` and ``verdicts.npz``,
  the evaluation in sum and image by image, and ``examples.npz``, pictures for the report
- ``certificates.json`` and ``certificates.npz``: what is certified, in sum and image by image
- ``probes.json``: why the network holds or not
- ``energy.json``: what a pass takes, clean and under attack
- ``graph.nir``: of a network that came as one

Before, there was one evaluation, beside ``run.json``; it is still read.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spikeproof.choices import UserError
from spikeproof.runs.digests import digest_of_bytes_alone, digest_of_json, digest_of_tensors
from spikeproof.runs.json_forms import as_json, from_json
from spikeproof.runs.records import SCHEMA, AnyRecord, Epoch, Record, RunRecord, VerdictsRecord
from spikeproof.runs.upgrades import BEFORE_DIGESTS, BEFORE_SCHEMAS, upgraded
from spikeproof.untrusted.archives import arrays_in
from spikeproof.untrusted.texts import Unreadable, json_in, json_lines_in, text_of, within_limits
from spikeproof.untrusted.words import brief, printable
from spikeproof.whole_files import written_whole

EVALUATIONS = "verdicts"  # the folder, inside a run's, of its evaluations
KEPT = "spikeproof"  # the name, in a file of tensors, of its digest and of the facts about them


@dataclass(frozen=True)
class Folder:
    """A folder whose files are whole or absent. Reading raises `UserError` that names the damaged or missing file."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a text is welcome

    @property
    def name(self) -> str:
        return self.path.name

    def __contains__(self, file: str) -> bool:
        return (self.path / file).is_file()

    def write_text(self, file: str, text: str) -> None:
        with self._writing(file) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_json(self, file: str, value: Any) -> None:
        self._refuse_unreadable(file, value)
        self.write_text(file, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def read_json(self, file: str) -> Any:
        try:
            return json_in(text_of(self._existing(file)))
        except Unreadable as error:
            raise self._damaged(file, error) from error

    def write_lines(self, file: str, rows: list[dict[str, Any]]) -> None:
        self._refuse_unreadable(file, rows)
        self.write_text(file, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def read_lines(self, file: str) -> list[dict[str, Any]]:
        try:
            return json_lines_in(text_of(self._existing(file)))
        except Unreadable as error:
            raise self._damaged(file, error) from error

    def write_arrays(self, file: str, arrays: dict[str, np.ndarray]) -> None:
        with self._writing(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    def read_arrays(self, file: str) -> dict[str, np.ndarray]:
        try:
            return arrays_in(self._existing(file))
        except UserError:
            raise
        except Exception as error:  # numpy raises zipfile, zlib, OS and value errors for a damaged archive
            raise self._damaged(file, error) from error

    def write_tensors(self, file: str, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """`tensors` and, in the same file, JSON-able `facts` about them."""
        whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        kept = {"facts": facts, "sha256": digest_of_tensors(whole, facts)}
        with self._writing(file) as temporary:  # of several keys safetensors would write one first or another
            save_file(whole, temporary, metadata={KEPT: json.dumps(kept, sort_keys=True, allow_nan=False)})

    def read_tensors(self, file: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        digest, facts = self.stated(file)
        try:
            with safe_open(self._existing(file), framework="pt") as stream:
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
                whole = KEPT in (stream.metadata() or {})
        except (SafetensorError, OSError) as error:
            raise self._damaged(file, error) from error
        if digest != (digest_of_tensors(tensors, facts) if whole else digest_of_bytes_alone(tensors)):
            raise self._damaged(
                file, ValueError("its tensors, or the facts about them, are not those that were written")
            )
        return tensors, facts

    def stated(self, file: str) -> tuple[str, dict[str, Any]]:
        """The digest and the facts that a file of tensors states; the tensors are not looked at."""
        try:
            with safe_open(self._existing(file), framework="pt") as stream:
                kept = stream.metadata() or {}
            if KEPT in kept:
                kept = json_in(kept[KEPT])
                return str(kept["sha256"]), dict(kept["facts"])
            return kept.get("sha256", ""), dict(json_in(kept.get("facts", "{}")))  # as spikeproof wrote them before
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise error if isinstance(error, UserError) else self._damaged(file, error) from error

    def write(self, record: Record) -> None:
        """`record`, in the file of its kind, under the number of the schema."""
        content = {"schema": SCHEMA} | as_json(record)
        self.write_json(record.FILE, content | {"sha256": digest_of_json(content)})

    def read(self, kind: type[AnyRecord]) -> AnyRecord:
        """The record of this kind; one of spikeproof 0.1.0 is upgraded, one of a later schema is refused.

        Raises `UserError` for a field of another type, which it names, and for a record that was changed since.
        """
        content = self.read_json(kind.FILE)
        try:
            digest, schema = content.pop("sha256", None), content.get("schema", BEFORE_SCHEMAS)
            if schema not in (BEFORE_SCHEMAS, BEFORE_DIGESTS, SCHEMA):
                raise self._of_another(kind.FILE, schema, content)
            unchanged = schema < SCHEMA or digest == digest_of_json(content)
            content = {name: value for name, value in content.items() if name != "schema"}
            if schema == BEFORE_SCHEMAS:
                content = upgraded(kind.FILE, content, recordings=self.holds_recordings)
            record = from_json(content, kind)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise self.unexpected(kind.FILE, error) from error
        if not unchanged:
            raise self._damaged(kind.FILE, ValueError("it was changed after it was written"))
        return record

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

    def refuse_gone(self) -> None:
        """Raise `UserError` if the folder is no longer there, so that half a run does not begin anew."""
        if not self.path.is_dir():
            raise UserError(f"the folder {self.path} is gone: it was moved or deleted, and nothing is written")

    @contextmanager
    def _writing(self, file: str) -> Iterator[Path]:
        """As `written_whole`. A run begins with its ``run.json``: only that makes the folder."""
        try:
            if file != RunRecord.FILE:
                self.refuse_gone()
            with written_whole(self.path / file) as temporary:
                yield temporary
        except (OSError, SafetensorError) as error:
            said = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{self.path / file} cannot be written ({said}); what was there before is left") from error

    def _refuse_unreadable(self, file: str, content: Any) -> None:
        try:
            within_limits(content)
        except Unreadable as error:
            raise UserError(f"{self.path / file} is not written: it {error}") from error

    def _existing(self, file: str) -> Path:
        path = self.path / file
        if not self.path.is_dir():
            raise UserError(f"there is no run folder {self.path}")
        if not path.is_file():
            raise UserError(f"{self.path} has no {file}: not a run folder, or its command has not got so far yet")
        return path

    @contextmanager
    def understood(self, file: str) -> Iterator[None]:
        """Turns what reading an unexpected content raises into a `UserError` that names `file`."""
        try:
            yield
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise self.unexpected(file, error) from error

    def unexpected(self, file: str, error: Exception) -> UserError:
        """What is said of a whole file with a content that cannot be."""
        return UserError(
            f"{self.path / file} is not as spikeproof writes it ({type(error).__name__}: {_in_a_line(error)}); "
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
            f"{self.path / file} is damaged ({_in_a_line(error)}); "
            "delete the file and run the command that made it again"
        )


@dataclass(frozen=True)
class Run(Folder):
    """One run folder: its record, its epochs and the evaluations that it holds."""

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
    def evaluations(self) -> tuple[Folder, ...]:
        """The folders of the finished evaluations, in order of name; one beside ``run.json`` comes first."""
        inside = sorted(self.path.glob(f"{EVALUATIONS}/*/{VerdictsRecord.FILE}"))
        before = (self,) if VerdictsRecord.FILE in self else ()
        return (*before, *(Folder(file.parent) for file in inside))


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


def _in_a_line(error: Exception) -> str:
    """What an error says; torch takes several lines, and numpy shows what it was given."""
    return printable(brief(" ".join(str(error).split())))

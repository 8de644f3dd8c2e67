"""How do run folders become a zoo? Their files are copied, each gets a card, and an index names all with digests."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikeproof.choices import UserError
from spikeproof.runs import Run, sha256_of, written_whole
from spikeproof.runs.certificate_files import ARRAYS as CERTIFIED
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.records import BuiltRecord, CertificatesRecord, RunRecord, VerdictsRecord
from spikeproof.runs.ties import WEIGHTS, are_of_others
from spikeproof.runs.verdict_files import ARRAYS
from spikeproof.zoo.cards import Card, card_of
from spikeproof.zoo.indexes import PLAIN, SCHEMA, Index, Listed

KEPT = (RunRecord.FILE, BuiltRecord.FILE, WEIGHTS, CertificatesRecord.FILE, CERTIFIED)


def write_zoo(runs: Sequence[Run], folder: Path | str) -> Index:
    """Write the networks of `runs`, under the names of their folders, and ``index.json`` into a new `folder`.

    Raises `UserError` for a run that cannot be shown: not trained, not evaluated under the suite ``standard``, a
    network from elsewhere, a name that others share. Raises it for a folder that is there. Nothing is written then.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder} is there already: a zoo is written into a new folder")
    found = {card.name: (run, card) for run in runs for card in [card_of(run)]}
    if len(found) < len(runs) or not found:
        raise UserError("the folders of a zoo's runs have a name each, and there is at least one")
    if odd := [name for name in found if not PLAIN.fullmatch(name)]:
        raise UserError(f"{odd[0]!r} is no name of a network: letters, digits, . + - and _ are")
    networks = {name: _copied(run, card, folder / name) for name, (run, card) in sorted(found.items())}
    index = Index(schema=SCHEMA, networks=networks)
    _write_json(folder / Index.FILE, as_json(index))
    return index


def _copied(run: Run, card: Card, target: Path) -> dict[str, Listed]:
    own = [f.path.relative_to(run.path) for f in run.evaluations if not are_of_others(run, f.read(VerdictsRecord))]
    judged = [(place / file).as_posix() for place in own for file in (VerdictsRecord.FILE, ARRAYS)]
    for file in (*(file for file in KEPT if file in run), *judged):
        with written_whole(target / file) as temporary:
            temporary.write_bytes((run.path / file).read_bytes())
    _write_json(target / Card.FILE, as_json(card))
    files = sorted(path for path in target.rglob("*") if path.is_file())
    return {
        path.relative_to(target).as_posix(): Listed(bytes=path.stat().st_size, sha256=sha256_of(path)) for path in files
    }


def _write_json(path: Path, content: Any) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")

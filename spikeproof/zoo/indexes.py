"""Which networks does an index name, and which files, each with its size and digest, are a network?"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from spikeproof.choices import UserError, nearest
from spikeproof.runs.json_forms import from_json
from spikeproof.untrusted.texts import Unreadable, json_in
from spikeproof.untrusted.words import told
from spikeproof.zoo.addresses import beside, content_at
from spikeproof.zoo.cards import Card

SHIPPED = Path(__file__).parent / "networks" / "index.json"
SCHEMA = 1
MOST_TEXT = 4 << 20  # bytes of an index, and of a card
MOST_BYTES = 4 << 30  # of a file of weights
PLAIN = re.compile(r"[A-Za-z0-9][\w+.-]{0,99}")
FILE = re.compile(r"(verdicts/[A-Za-z0-9][\w+.-]{0,199}/)?[A-Za-z0-9][\w.-]{0,99}\.(json|jsonl|npz|safetensors)")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file of a network: how long it is, and its digest."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Index:
    """``index.json`` of a zoo: the files of each network, by the name of its folder."""

    FILE: ClassVar[str] = "index.json"
    schema: int
    networks: dict[str, dict[str, Listed]]


def address_of(index: str | Path | None) -> str:
    """The address of an index: the one that is given, else $SPIKEPROOF_ZOO, else that of the installed networks."""
    said = str(index or os.environ.get("SPIKEPROOF_ZOO") or SHIPPED)
    return str(Path(said) / Index.FILE) if Path(said).is_dir() else said


def read_index(index: str | Path | None = None, sha256: str | None = None) -> Index:
    """The index at an address, of the digest `sha256` where one is given.

    Raises `UserError` for one that cannot be read, of another schema, and for names that lead elsewhere.
    """
    address = address_of(index)
    try:
        content = json_in(content_at(address, MOST_TEXT, sha256).decode("utf-8"))
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise ValueError(f"its schema is {told(schema)}, and this spikeproof reads {SCHEMA}")
        found = from_json(content, Index)
    except (Unreadable, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{told(address)} is no index of networks: {error}") from error
    for name, files in found.networks.items():
        _refuse_odd(address, name, files)
    return found


def _refuse_odd(address: str, name: str, files: dict[str, Listed]) -> None:
    """Raise `UserError` for a name that leads elsewhere, for an impossible size, and for a network without weights."""
    odd = next((file for file in files if not FILE.fullmatch(file) or ".." in file), None)
    if not PLAIN.fullmatch(name) or ".." in name or odd is not None:
        raise UserError(f"{told(address)} names {told(odd or name)}, which no network has")
    for file, listed in files.items():
        if not 0 < listed.bytes <= MOST_BYTES:
            raise UserError(f"{told(address)}: {told(file)} has {listed.bytes:,} bytes, not 1 to {MOST_BYTES:,}")
    for needed in (Card.FILE, "run.json", "model.json", "model.safetensors"):
        if needed not in files:
            raise UserError(f"{told(address)}: the network {told(name)} has no {needed}")


def files_of(name: str, index: Index) -> dict[str, Listed]:
    """The files of a network; raises `UserError` with the nearest name for one that there is not."""
    if name not in index.networks:
        raise UserError(f"there is no network {told(name)}; {nearest(name, index.networks)}")
    return index.networks[name]


def file_at(address: str, name: str, file: str, listed: Listed) -> bytes:
    """One file of a network, of the size and digest that its index names."""
    return content_at(beside(address, f"{name}/{file}"), listed.bytes, listed.sha256)


def cards(index: str | Path | None = None, *, sha256: str | None = None) -> tuple[Card, ...]:
    """The cards of all networks of an index: a file, a folder that holds one, or an address of https.

    Without one it is $SPIKEPROOF_ZOO, else the networks that are installed with spikeproof. `sha256` is the digest that
    the index has to have. Raises `UserError` for an index or a card that cannot be read, or is not of its digest.
    """
    found, address = read_index(index, sha256), address_of(index)
    return tuple(_card(address, name, files[Card.FILE]) for name, files in sorted(found.networks.items()))


def _card(address: str, name: str, listed: Listed) -> Card:
    if listed.bytes > MOST_TEXT:
        raise UserError(f"{told(address)}: the card of {told(name)} has more than {MOST_TEXT:,} bytes")
    try:
        return from_json(json_in(file_at(address, name, Card.FILE, listed).decode("utf-8")), Card)
    except (Unreadable, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{told(address)}: the card of {told(name)} is not one: {error}") from error

"""What lies at an address, a file of this machine or one of a site? Its bytes, within limits and of their digest."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from spikeproof.choices import UserError
from spikeproof.untrusted.arrivals import TIMEOUT_SECONDS, arriving
from spikeproof.untrusted.texts import Unreadable
from spikeproof.untrusted.words import printable, told

SECONDS = 3600.0  # that a file may take
OURS = ("127.0.0.1", "localhost")  # this machine: there is nobody between


def content_at(address: str, most: int, sha256: str | None = None) -> bytes:
    """The bytes of a file: a path, or an address of https.

    Raises `UserError` for one that is not there, for more than `most` bytes, for one that takes longer than an hour,
    and where the digest is not `sha256`.
    """
    try:
        content = _from_site(address, most) if is_url(address) else _from_file(Path(address), most)
    except Unreadable as error:
        raise UserError(f"{told(address)} {error}; it is not read") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{told(address)} cannot be read: {printable(str(error))}") from error
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise UserError(f"{told(address)} is not what its index names: its sha256 is {found}, not {told(sha256)}")
    return content


def is_url(address: str) -> bool:
    """Whether it begins with a scheme, as https: does."""
    return re.match(r"[a-zA-Z][\w+.-]+:", address) is not None


def beside(address: str, name: str) -> str:
    """The address of the file `name` in the folder of another file."""
    return f"{address.rpartition('/')[0]}/{name}" if is_url(address) else str(Path(address).parent / name)


def _from_file(path: Path, most: int) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise Unreadable(f"has more than {most:,} bytes")
    return content


def _from_site(address: str, most: int) -> bytes:
    _refuse_open_lines(address)
    with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as response:
        _refuse_open_lines(response.geturl())  # where it was sent on to
        return b"".join(arriving(response, most, SECONDS))


def _refuse_open_lines(address: str) -> None:
    """Raise `UserError` for any scheme but https; http is for a server on this machine."""
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in OURS):
        raise UserError(f"{told(address)}: networks come over https, or from files")

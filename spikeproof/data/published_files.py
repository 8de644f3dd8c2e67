"""Is a file on this disk the one that its publisher gave out, and where do files lie and come from?"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.untrusted.words import told


@dataclass(frozen=True, kw_only=True)
class Download:
    """What an address gives: a file with this md5, which becomes `path` under the root of the data.

    Behind an address that ends in .tar.gz or .zip is an archive that holds the folder `path`.
    """

    url: str
    md5: str
    path: str


def data_root(root: Path | str | None) -> Path:
    """The folder of all data: `root`, or else the environment variable SPIKEPROOF_DATA, or else ./data."""
    return Path(root or os.environ.get("SPIKEPROOF_DATA") or "data").expanduser()


def folder_inside(root: Path, folder: str) -> Path:
    """The folder of that name in the root of the data.

    Raises `UserError` for one that lies outside: a config of somebody else would read what it likes. A link that its
    owner has put into the root may lead anywhere.
    """
    path = Path(folder)
    if path.is_absolute() or ".." in path.parts or not folder.isprintable():
        raise UserError(f"folder is a folder inside the root of the data, {root.absolute()}; not {told(folder)}")
    return root / path


def file_inside(root: Path, file: str) -> Path:
    """The file of that name in the root of the data; raises `UserError` as `folder_inside` does."""
    return folder_inside(root, file)


def missing(path: Path, download: Download) -> UserError:
    """The error for a file or folder that is not there: what, where it was looked for, where to get it."""
    return UserError(
        f"{path.name} is missing in {path.parent.absolute()}; it comes from {download.url} "
        f"(md5 {download.md5}), for example by spikeproof.data.download"
    )


def damaged(path: Path, content: bytes, md5: str, fault: str) -> UserError:
    """The error for a file whose `content` is not the published one, which has this `md5`."""
    return UserError(
        f"{path.name} in {path.parent.absolute()} is {fault}: it has md5 {md5_of(content)}, the published "
        f"content has {md5}; remove it and download it again"
    )


def refuse_altered(path: Path, content: bytes, md5: str) -> None:
    """Raises `UserError` unless the `content` of the file at `path` has this md5."""
    if md5_of(content) != md5:
        raise damaged(path, content, md5, "damaged or altered")


def md5_of(content: bytes) -> str:
    """The md5 of `content`, in hexadecimal: the only checksum that the publishers give."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()

"""How does a data set come from its publisher's site onto this disk, whole or not at all?"""

import hashlib
import http.client
import os
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.data.data_sets import DataSet
from spikeproof.data.published_files import Download, data_root
from spikeproof.untrusted.arrivals import TIMEOUT_SECONDS, arriving
from spikeproof.untrusted.texts import Unreadable
from spikeproof.untrusted.words import printable

MOST_BYTES = 1 << 30  # the largest of ours, TinyImageNet, has 248 MB
MOST_SECONDS = 6 * 3600.0


def download(dataset: DataSet, root: Path | str | None = None) -> Path:
    """Fetches what is missing of `dataset` into `root` (None: as in `DataSet.part`), which is returned.

    A file or folder appears only when complete and of the published md5. What is already there is left alone:
    reading it checks it; remove a damaged one, and call again. `Digits` needs no download. Raises `UserError`
    if the site cannot be reached, for a wrong md5, and for sets that are not given out freely.
    """
    root = data_root(root)
    if dataset.by_hand:
        raise UserError(dataset.by_hand)
    for item in dataset.downloads:
        target = root / item.path
        if not target.exists() and not (target.suffix == ".gz" and target.with_suffix("").exists()):
            fetch(item, root)
    return root


def fetch(item: Download, root: Path) -> None:
    """Puts `item` in its place under `root`; raises `UserError` and leaves nothing behind if that fails."""
    target = root / item.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as temporary:
        file = Path(temporary, "file")
        try:
            found = _transfer(item.url, file)
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"cannot download {item.url}: {error}") from error
        if found != item.md5:
            raise UserError(f"{item.url} gave a file with md5 {found}, the published one has {item.md5}; try it again")
        try:
            os.replace(_unpacked(file, item, Path(temporary)), target)
        except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"cannot unpack {item.url} into {target.absolute()}: {error}") from error


def _transfer(url: str, file: Path) -> str:
    """Writes what `url` gives to `file` and returns its md5; raises `UserError` for what does not end."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    md5 = hashlib.md5(usedforsecurity=False)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with (
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,
        file.open("wb") as out,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task(printable(url.rpartition("/")[2]), total=_said_size(response.headers))
        try:
            for chunk in arriving(response, MOST_BYTES, MOST_SECONDS):
                out.write(chunk)
                md5.update(chunk)
                progress.advance(task, len(chunk))
        except Unreadable as error:
            raise UserError(f"{url} {error}, and no data set here takes as much: try it again") from error
    return md5.hexdigest()


def _said_size(headers: Mapping[str, str]) -> int | None:
    """How many bytes a site announces, for the progress bar alone; None where it says no number."""
    said = (headers.get("Content-Length") or "").strip()
    return int(said) if said.isdecimal() and len(said) < 16 else None


def _unpacked(file: Path, item: Download, temporary: Path) -> Path:
    """The file or folder that is to be renamed to `item.path`."""
    folder = temporary / "unpacked"
    if item.url.endswith(".tar.gz"):
        with tarfile.open(file, "r:gz") as archive:
            archive.extractall(folder, filter="data")
    elif item.url.endswith(".zip"):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    else:
        return file
    found = folder / item.path
    if not found.is_dir() or any(part.is_symlink() for part in (found, *found.parents) if part.is_relative_to(folder)):
        raise UserError(f"{item.url} does not hold the folder {item.path}, or it is a link")
    return found

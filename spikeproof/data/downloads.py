"""How does a data set come from its publisher's site onto this disk, whole or not at all?"""

import hashlib
import http.client
import os
import tarfile
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.data.data_sets import DataSet
from spikeproof.data.published_files import Download, data_root

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20


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
        except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise UserError(f"cannot unpack {item.url} into {target.absolute()}: {error}") from error


def _transfer(url: str, file: Path) -> str:
    """Writes what `url` gives to `file` and returns its md5."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    md5 = hashlib.md5(usedforsecurity=False)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with (
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,
        file.open("wb") as out,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        size = int(response.headers.get("Content-Length") or 0) or None
        task = progress.add_task(url.rpartition("/")[2], total=size)
        while chunk := response.read(CHUNK_BYTES):
            out.write(chunk)
            md5.update(chunk)
            progress.advance(task, len(chunk))
    return md5.hexdigest()


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
    if not (folder / item.path).is_dir():
        raise UserError(f"{item.url} does not hold the folder {item.path}")
    return folder / item.path

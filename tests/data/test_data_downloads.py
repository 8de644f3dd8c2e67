"""Does a download arrive whole, checked and in its place, and does a failed one leave nothing behind?"""

import gzip
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spikeproof.choices import UserError
from spikeproof.data import CIFAR10, MNIST, Digits, ImageNet, download
from spikeproof.data.downloads import fetch
from spikeproof.data.published_files import Download, md5_of


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_single_files_over_http(site: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {name: gzip.compress(name.encode(), mtime=0) for name in ("one.gz", "two.gz")}
    items = tuple(
        Download(url=f"{address}/{name}", md5=md5_of(content), path=f"MNIST/raw/{name}")
        for name, content in contents.items()
    )
    for name, content in contents.items():
        (site / name).write_bytes(content)
    monkeypatch.setattr(MNIST, "downloads", items)
    root = tmp_path / "not yet there"
    assert download(MNIST(), root) == root
    assert {p.name: p.read_bytes() for p in (root / "MNIST/raw").iterdir()} == contents
    assert [p.name for p in root.iterdir()] == ["MNIST"]


def test_what_is_there_is_left_alone(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = (site / "gone").as_uri()
    items = tuple(Download(url=f"{nowhere}/{n}.gz", md5="0" * 32, path=f"MNIST/raw/{n}.gz") for n in "ab")
    monkeypatch.setattr(MNIST, "downloads", items)
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    (tmp_path / "MNIST/raw/a.gz").write_text("packed")
    (tmp_path / "MNIST/raw/b").write_text("unpacked")
    download(MNIST(), tmp_path)
    assert sorted(p.name for p in (tmp_path / "MNIST/raw").iterdir()) == ["a.gz", "b"]


def test_an_archive_becomes_a_folder(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tar({"cifar-10-batches-py/test_batch": b"images", "readme": b"not wanted"})
    (site / "all.tar.gz").write_bytes(content)
    item = Download(url=(site / "all.tar.gz").as_uri(), md5=md5_of(content), path="cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "downloads", (item,))
    download(CIFAR10(), tmp_path / "root")
    assert [p.name for p in (tmp_path / "root").iterdir()] == ["cifar-10-batches-py"]
    assert (tmp_path / "root/cifar-10-batches-py/test_batch").read_bytes() == b"images"
    download(CIFAR10(), tmp_path / "root")


def test_a_zip_becomes_a_folder(site: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(site / "all.zip", "w") as archive:
        archive.writestr("tiny/val/a.txt", "words")
    item = Download(url=(site / "all.zip").as_uri(), md5=md5_of((site / "all.zip").read_bytes()), path="tiny")
    fetch(item, tmp_path / "root")
    assert (tmp_path / "root/tiny/val/a.txt").read_text() == "words"


def assert_refused(item: Download, root: Path, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fetch(item, root)
    assert [p for p in root.rglob("*") if p.is_file()] == []
    assert not list(root.glob(".download-*"))


def test_a_wrong_md5_leaves_nothing(site: Path, address: str, tmp_path: Path) -> None:
    (site / "a.gz").write_bytes(b"altered")
    item = Download(url=f"{address}/a.gz", md5=md5_of(b"published"), path="Set/a.gz")
    assert_refused(item, tmp_path / "root", f"md5 {md5_of(b'altered')}, .* has {md5_of(b'published')}")


def test_a_site_that_cannot_be_reached_leaves_nothing(address: str, tmp_path: Path) -> None:
    for url in (f"{address}/missing.gz", "http://127.0.0.1:9/a.gz", (tmp_path / "missing.gz").as_uri()):
        assert_refused(Download(url=url, md5="0" * 32, path="a.gz"), tmp_path / "root", f"cannot download {url}: ")


def test_an_archive_without_the_folder_leaves_nothing(site: Path, tmp_path: Path) -> None:
    content = tar({"other/file": b"x"})
    (site / "a.tar.gz").write_bytes(content)
    item = Download(url=(site / "a.tar.gz").as_uri(), md5=md5_of(content), path="wanted")
    assert_refused(item, tmp_path / "root", "does not hold the folder wanted")


def test_an_archive_cannot_write_outside(site: Path, tmp_path: Path) -> None:
    content = tar({"../../escaped": b"x", "wanted/file": b"y"})
    (site / "a.tar.gz").write_bytes(content)
    item = Download(url=(site / "a.tar.gz").as_uri(), md5=md5_of(content), path="wanted")
    assert_refused(item, tmp_path / "root", "cannot unpack")
    assert not list(tmp_path.rglob("escaped"))


def test_sets_that_are_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"registered users only.*ILSVRC2012_img_val.tar"):
        download(ImageNet(), tmp_path)
    assert download(Digits(), tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []

"""What may a site, an archive or a config of a stranger do? Not wait for ever, fill the disk or leave a folder."""

import io
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import spikeproof as sp
from spikeproof.data import EventFolder, ImageFolder, downloads
from spikeproof.data.downloads import fetch
from spikeproof.data.published_files import Download, md5_of


class Hostile(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        kind = self.path.rpartition("/")[2]
        if kind not in ("endless", "drips"):
            self.send_header("Content-Length", {"words": "abc", "minus": "-1", "long": "9" * 5000}.get(kind, "5"))
        self.end_headers()
        try:
            if kind in ("endless", "drips"):
                while True:
                    self.wfile.write(b"x" * (1 if kind == "drips" else 1 << 16))
                    time.sleep(0.01 if kind == "drips" else 0)
            self.wfile.write(b"hello")
        except OSError:
            pass  # who asked has gone


@pytest.fixture(scope="module")
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["words", "minus", "long", "right"])
def test_a_length_that_is_no_number_is_not_needed(address, tmp_path, kind):
    item = Download(url=f"{address}/{kind}", md5=md5_of(b"hello"), path="set/file")
    fetch(item, tmp_path)
    assert (tmp_path / "set/file").read_bytes() == b"hello"


def test_a_download_that_does_not_end_is_ended(address, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "MOST_BYTES", 1 << 18)
    monkeypatch.setattr(downloads, "MOST_SECONDS", 0.3)
    for kind, said in (("endless", "more than 262,144 bytes"), ("drips", r"in 0 s, and not all")):
        with pytest.raises(sp.UserError, match=said):
            fetch(Download(url=f"{address}/{kind}", md5="0" * 32, path="set/file"), tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def linked(name, to):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, to
        archive.addfile(member)
        folder = tarfile.TarInfo("other")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
    return packed.getvalue()


@pytest.mark.parametrize("to", ["other", "/etc", "../.."])
def test_an_archive_whose_top_folder_is_a_link_is_refused(tmp_path, to):
    content, root = linked("set", to), tmp_path / "root"
    (tmp_path / "a.tar.gz").write_bytes(content)
    root.mkdir()
    item = Download(url=(tmp_path / "a.tar.gz").as_uri(), md5=md5_of(content), path="set")
    with pytest.raises(sp.UserError, match=r"does not hold the folder set, or it is a link|cannot unpack"):
        fetch(item, root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("kind", [EventFolder, ImageFolder])
@pytest.mark.parametrize("folder", ["../..", "a/../../b", "/etc", "a\x1b[2J"])
def test_a_folder_cannot_leave_the_root_of_the_data(tmp_path, kind, folder):
    with pytest.raises(sp.UserError, match="folder is a folder inside the root of the data") as caught:
        kind(folder=folder).part("test", tmp_path)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("steps", [2147483648, 10_001, 0, 1 << 63])
def test_more_steps_than_memory(steps):
    for make in (lambda: sp.Network(steps=steps), lambda: sp.Framing(steps=steps)):
        with pytest.raises(sp.UserError, match=r"steps of \w+ must be a whole number in \[1, 10000\]"):
            make()

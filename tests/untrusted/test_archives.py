"""Is a small file refused that would unpack to a large one, before it has?"""

import gzip
import io
import resource
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import spikeproof as sp
from spikeproof.data.events.files import read_events
from spikeproof.data.idx import read_idx
from spikeproof.data.image_files import MOST_TIMES, images_in_files
from spikeproof.data.published_files import Download
from spikeproof.runs import Run
from spikeproof.untrusted.archives import FLOOR, Unreadable, allowed, arrays_in, inflated, refuse_damaged_zip

LARGE = 3 * FLOOR  # a bomb of 192 MiB, of some 190 kB
HALF = FLOOR // 2


@contextmanager
def little_memory():
    """What numpy and Python take inside the block stays well below what the bomb holds."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.6 * FLOOR


def refused(call, said):
    with pytest.raises((sp.UserError, Unreadable), match=said) as caught, little_memory():
        call()
    assert "\n" not in str(caught.value)


def header(shape, dtype="<i8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.fixture(scope="module")
def zeros():
    return bytes(LARGE)


@pytest.mark.parametrize("name", ["t", "other"])
def test_a_bomb_in_npz(tmp_path, zeros, name):
    path = npz(tmp_path / "a.npz", **{name: header((LARGE // 8,)) + zeros})
    assert path.stat().st_size < LARGE / 500
    refused(lambda: Run(tmp_path).read_arrays("a.npz"), r"a\.npz is damaged \(unpacks to 201,")
    refused(lambda: read_events(path), r"unpacks to 201," if name == "t" else "has no array t")


def test_an_array_larger_than_its_file(tmp_path):
    path = npz(tmp_path / "a.npz", t=header((10**12,)) + bytes(80))
    refused(lambda: arrays_in(path), "where its own header says 8,000,000,000,")
    npz(path, t=header((10**30,)) + bytes(80))
    refused(lambda: read_events(path), "where its own header says")
    npz(path, t=b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000)
    refused(lambda: read_events(path), r"a\.npz")


@pytest.mark.parametrize("read", [arrays_in, refuse_damaged_zip])
def test_a_member_that_the_list_has_lost_is_missed(tmp_path, read):
    """The first entry of the list says that a longer comment follows: `zipfile` takes the rest of the list for it."""
    path = tmp_path / "a.npz"
    np.savez(path, one=np.arange(3), two=np.arange(4))
    read(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 32] = 60
    path.write_bytes(content)
    assert len(zipfile.ZipFile(path).infolist()) == 1
    refused(lambda: read(path), "damaged archive: its list names 1 members of 2")


def test_bytes_after_the_end_of_an_archive(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, one=np.arange(3))
    path.write_bytes(path.read_bytes() + b"more")
    refused(lambda: arrays_in(path), "goes on after its last record")


def test_what_npz_holds_is_read(tmp_path):
    arrays = {"t": np.arange(5), "p": np.zeros((2, 0)), "word": np.array("text"), "f": np.asfortranarray(np.eye(3))}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **arrays)
        found = arrays_in(tmp_path / "a.npz")
        assert all(np.array_equal(arrays[name], found[name]) for name in arrays)
        assert set(arrays_in(tmp_path / "a.npz", ("t", "x"))) == {"t"}


def test_a_bomb_in_mat(tmp_path, zeros):
    element = struct.pack("<II", 14, len(zeros)) + zeros
    packed = zlib.compress(element, 9)
    start = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    path = tmp_path / "a.mat"
    path.write_bytes(start + struct.pack("<II", 15, len(packed)) + packed)
    refused(lambda: read_events(path), r"a\.mat: .* unpacks to more than")


def test_a_bomb_in_gz_is_refused_before_its_md5_is_looked_at(tmp_path, zeros):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(zeros, 9))
    download = Download(url="http://nowhere/images.gz", md5="0" * 32, path="images.gz")
    refused(lambda: read_idx(tmp_path, download, "0" * 32), r"images\.gz .*unpacks to more than")


def test_what_is_packed_is_unpacked():
    assert inflated(zlib.compress(b"a" * HALF)) == b"a" * HALF
    with pytest.raises(EOFError):
        inflated(zlib.compress(b"abc")[:-2])
    assert allowed(1 << 20) == FLOOR + (100 << 20)


def pixels_of(path):
    return images_in_files(path.parent, [(path.name, 0)], ("a",), size=8, resize=8).batch([0])


def png(path, width, height):
    """A PNG that says it has so many pixels, and a few bytes of them."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(("width", "height"), [(9000, 9000), (20_000, 20_000), (1, 40_000), (2_000_000_000, 1)])
def test_a_bomb_in_png(tmp_path, width, height):
    refused(lambda: pixels_of(png(tmp_path / "a.png", width, height)), r"cannot decode the image a\.png")


def test_a_strip_is_no_bomb(tmp_path):
    Image.new("RGB", (MOST_TIMES, 1), (255, 0, 0)).save(tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png")[0].shape == (1, 3, 8, 8)


def test_an_archive_of_torch_is_not_compressed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1000))
    refused(lambda: refuse_damaged_zip(tmp_path / "a.pt"), "compressed")


def test_a_full_disk_leaves_what_was_there(tmp_path):
    """A limit on the size of files is a full disk to the writer."""
    import torch

    run, soft = Run(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    run.write_tensors("w", {"w": torch.ones(10)}, {})
    run.write_arrays("a", {"a": np.ones(10)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    noise = np.random.default_rng(0).integers(0, 255, 100_000, dtype=np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, soft[1]))
    try:
        for write in (
            lambda: run.write_tensors("w", {"w": torch.ones(100_000)}, {}),
            lambda: run.write_arrays("a", {"a": noise}),
            lambda: run.write_text("new", "x" * 100_000),
        ):
            with pytest.raises(sp.UserError, match=r"cannot be written \(.*File too large") as caught:
                write()
            assert "\n" not in str(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

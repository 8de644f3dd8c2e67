"""Is an IDX file read as written, and is a missing, truncated or altered one refused by name?"""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from spikeproof.choices import UserError
from spikeproof.data import FashionMNIST
from spikeproof.data.idx import parse_idx, read_idx
from spikeproof.data.published_files import Download, md5_of

ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 3, 4) + ARRAY.tobytes()
DOWNLOAD = Download(url="http://publisher.example/pictures.gz", md5="0" * 32, path="Set/raw/pictures.gz")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "Set" / "raw"
    folder.mkdir(parents=True)
    return folder


def test_an_array_is_read_as_written() -> None:
    array = parse_idx(CONTENT)
    assert array.dtype == np.uint8
    assert array.flags.writeable
    assert np.array_equal(array, ARRAY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"PK\x03\x04 and more", "starts with 50 4b 03 04"),
        (bytes([0, 0, 0x0D, 1]) + b"float", "starts with 00 00 0d 01"),
        (CONTENT[:9], "truncated in its header, after 9 of 16 bytes"),
        (CONTENT[:-1], "truncated: 39 bytes, where its header says 40"),
        (CONTENT + b"x", "too long: 41 bytes, where its header says 40"),
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_idx(content)


@pytest.mark.parametrize("level", [0, 9])
def test_a_packed_file_is_known_by_its_content_however_it_was_packed(tmp_path: Path, raw: Path, level: int) -> None:
    (raw / "pictures.gz").write_bytes(gzip.compress(CONTENT, level, mtime=0))
    assert np.array_equal(read_idx(tmp_path, DOWNLOAD, md5_of(CONTENT)), ARRAY)


def test_an_unpacked_file_is_read_too(tmp_path: Path, raw: Path) -> None:
    (raw / "pictures").write_bytes(CONTENT)
    assert np.array_equal(read_idx(tmp_path, DOWNLOAD, md5_of(CONTENT)), ARRAY)


def test_a_missing_file_is_named_with_its_address(tmp_path: Path, raw: Path) -> None:
    with pytest.raises(UserError, match=r"pictures\.gz is missing in .*raw; .*publisher.example/pictures.gz.*0{32}"):
        read_idx(tmp_path, DOWNLOAD, md5_of(CONTENT))


ALTERED = CONTENT[:-1] + b"\xff"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("pictures", ALTERED, "damaged or altered"),
        ("pictures.gz", gzip.compress(ALTERED, mtime=0), "damaged or altered"),
        ("pictures", CONTENT[:-5], "truncated: 35 bytes, where its header says 40"),
        ("pictures.gz", gzip.compress(CONTENT, mtime=0)[:-20], "truncated"),
        ("pictures.gz", b"<html>not found</html>", "damaged .*gzip"),
        ("pictures.gz", b"", "starts with nothing"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_md5(
    tmp_path: Path, raw: Path, name: str, content: bytes, fault: str
) -> None:
    (raw / name).write_bytes(content)
    with pytest.raises(UserError, match=fault) as caught:
        read_idx(tmp_path, DOWNLOAD, md5_of(CONTENT))
    message = str(caught.value)
    assert message.startswith(f"{name} in {raw} is ")
    assert f"the published content has {md5_of(CONTENT)}" in message
    found = ALTERED if "altered" in fault else content
    assert f"it has md5 {md5_of(found)}" in message


def test_a_stranger_s_images_in_the_right_place_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "t10k-images-idx3-ubyte").write_bytes(CONTENT)
    with pytest.raises(UserError, match=f"t10k-images-idx3-ubyte .*{md5_of(CONTENT)}.*8181f5470baa50b6"):
        FashionMNIST().part("test", tmp_path)

import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from core.ingest.archives import looks_like_archive
from core.ingest.limits import IngestLimits
from tests.core.ingest.reading import read, refuse
from tests.pictures import make_members, write_tar

MEMBERS = make_members({"cat": 3, "dog": 2})
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"


@pytest.fixture
def tar(tmp_path: Path) -> bytes:
    return write_tar(tmp_path / "tar", MEMBERS).read_bytes()


def _write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "a").write_bytes(content)
    return tmp_path / "a"


def _compress(content: bytes, *, with_checksum: bool = False) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=with_checksum).compress(content)


def _compress_as_a_stream(content: bytes, *, window_log: int = 20) -> bytes:
    """Without the size in the header, as `tar --zstd` does."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


def test_zstd_tar_is_read(tmp_path: Path, tar: bytes) -> None:
    for content in (_compress(tar), _compress_as_a_stream(tar), _compress(tar, with_checksum=True)):
        assert looks_like_archive(content[:512])
        assert read(_write(tmp_path, content)) == MEMBERS


def test_several_frames_are_read(tmp_path: Path, tar: bytes) -> None:
    content = SKIPPABLE + _compress(tar[:1000]) + SKIPPABLE + _compress(b"") + _compress(tar[1000:]) + SKIPPABLE

    assert read(_write(tmp_path, content)) == MEMBERS


@pytest.mark.parametrize("kept", [5, 8, 12, 100, -100, -5, -1])
def test_stream_that_is_cut_off_is_refused(tmp_path: Path, tar: bytes, kept: int) -> None:
    """The last bytes are the checksum and padding behind the tar's end, which the library would not miss."""
    content = SKIPPABLE + _compress(tar, with_checksum=True)

    assert refuse(_write(tmp_path, content[:kept])) == "archive_damaged"


def test_stream_with_more_behind_it_is_refused(tmp_path: Path, tar: bytes) -> None:
    for more in (b"\0", b"more", _compress(b"more")):
        assert refuse(_write(tmp_path, _compress(tar) + more)) == "archive_damaged"


def test_wrong_checksum_is_refused(tmp_path: Path, tar: bytes) -> None:
    content = _compress(tar, with_checksum=True)

    assert refuse(_write(tmp_path, content[:-1] + bytes([content[-1] ^ 1]))) == "archive_damaged"


def test_large_window_is_refused(tmp_path: Path, tar: bytes) -> None:
    path = _write(tmp_path, _compress_as_a_stream(tar, window_log=20))

    assert refuse(path, IngestLimits(max_zstd_window_bytes=2**19)) == "archive_compression_unsupported"
    assert read(path, IngestLimits(max_zstd_window_bytes=2**20)) == MEMBERS


def test_stream_that_needs_a_dictionary_is_refused(tmp_path: Path, tar: bytes) -> None:
    dictionary = zstandard.ZstdCompressionDict(b"\x37\xa4\x30\xec" + b"\x01\0\0\0" + bytes(200), dict_type=1)
    content = bytearray(zstandard.ZstdCompressor(dict_data=dictionary).compress(tar))
    content[4] |= 1  # one byte of a dictionary's id follows
    content.insert(5, 7)

    assert refuse(_write(tmp_path, bytes(content))) == "archive_compression_unsupported"


def test_bomb_is_refused_while_it_inflates(tmp_path: Path) -> None:
    header = tarfile.TarInfo("cat/0.png")
    header.size = 2 * 1024**3
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = io.BytesIO()
    bomb.write(compressor.compress(header.tobuf()))
    for _ in range(64):
        bomb.write(compressor.compress(bytes(1024**2)))
    bomb.write(compressor.flush())

    assert refuse(_write(tmp_path, bomb.getvalue()), IngestLimits(ratio_free_bytes=1024**2)) == "archive_bomb"

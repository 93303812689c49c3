"""Makes archives that no honest tool makes, and rare ones that honest tools do."""

import gzip
import io
import struct
import tarfile
import zipfile

import zstandard

from tests.pictures import Member

SKIPPABLE_FRAME = b"\x5a\x2a\x4d\x18\x04\0\0\0abcd"


def make_zip(members: list[Member], *, compression: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


def stream_zip(members: list[Member]) -> bytes:
    """With data descriptors, as writers of pipes and the macOS Finder leave them."""

    class Unseekable(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def make_zip64(members: list[Member]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    return buffer.getvalue()


def add_zip64_end(content: bytes, *, locator_at: int | None = None) -> bytes:
    """`locator_at` is where the locator says that the record stands."""
    end, directory = content.rindex(b"PK\x05\x06"), find_directory(content)
    (count,) = struct.unpack_from("<H", content, end + 10)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, end - directory, directory)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end if locator_at is None else locator_at, 1)
    return content[:end] + record + locator + content[end:]


def find_directory(content: bytes) -> int:
    end = content.rindex(b"PK\x05\x06")
    (at,) = struct.unpack_from("<L", content, end + 16)
    return int(at)


def patch_end(content: bytes, at: int, layout: str, *values: int) -> bytes:
    """Writes into the end record."""
    return patch(content, content.rindex(b"PK\x05\x06") + at, layout, *values)


def patch(content: bytes, at: int, layout: str, *values: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


def encrypt_in_name(content: bytes) -> bytes:
    """Sets the flag alone, in the first member and its entry."""
    content = patch(content, 6, "<H", 1)
    return patch(content, find_directory(content) + 8, "<H", 1)


def set_mode(name: str, target: bytes, mode: int) -> bytes:
    """A zip of one member whose Unix mode is no regular file's."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, target)
    return buffer.getvalue()


def repeat_entry(content: bytes, times: int) -> bytes:
    """As Fifield's bomb: many entries of the directory name one member."""
    at, end = find_directory(content), content.rindex(b"PK\x05\x06")
    entry = content[at : content.find(b"PK\x01\x02", at + 4) if content.count(b"PK\x01\x02") > 1 else end]
    tail = bytearray(content[end:])
    struct.pack_into("<2HL", tail, 8, times, times, times * len(entry))
    return content[:at] + entry * times + bytes(tail)


def hide_last_member(content: bytes) -> bytes:
    """Takes its entry out of the directory and leaves the member."""
    at, end = find_directory(content), content.rindex(b"PK\x05\x06")
    last = content.rindex(b"PK\x01\x02")
    count = content.count(b"PK\x01\x02") - 1
    return content[:last] + patch(content[end:], 8, "<2HL", count, count, last - at)


def make_tar(members: list[Member], *, tar_format: int = tarfile.PAX_FORMAT, folders: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        if folders:
            for name in ("./", *sorted({f"./{name.rsplit('/', 1)[0]}/" for name, _ in members})):
                archive.addfile(_describe(name, tarfile.DIRTYPE))
        for name, content in members:
            info = _describe(("./" if folders else "") + name, tarfile.REGTYPE)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_special_tar(
    members: list[Member], kind: bytes, *, name: str = "cat/x.png", target: str = "/etc/passwd"
) -> bytes:
    info = _describe(name, kind)
    info.linkname = target
    return info.tobuf(tarfile.GNU_FORMAT) + make_tar(members)


def make_pax_tar(members: list[Member], headers: dict[str, str], *, is_global: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers if is_global else {}
    ) as archive:
        info = _describe("cat/x.png", tarfile.REGTYPE)
        if not is_global:
            info.pax_headers = headers
        archive.addfile(info, io.BytesIO())
        for name, content in members:
            info = _describe(name, tarfile.REGTYPE)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_header(name: str, size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """With a right checksum, whatever the size says."""
    header = bytearray(_describe(name, kind).tobuf())
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def compress_gz(content: bytes, *, pieces: int = 1) -> bytes:
    size = -(-len(content) // pieces)
    return b"".join(gzip.compress(content[at : at + size], 6, mtime=0) for at in range(0, len(content), size))


def compress_zst(content: bytes, *, window_log: int = 20, pieces: int = 1, skippable: bytes = b"") -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_checksum=True)
    size = -(-len(content) // pieces)
    frames = []
    for at in range(0, len(content), size):
        compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        frames += [skippable, compressor.compress(content[at : at + size]), compressor.flush()]
    return b"".join(frames)


def _describe(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info

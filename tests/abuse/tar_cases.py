"""Archives that are tars, plain or compressed, and files that are nearly one."""

import bz2
import gzip
import lzma
import tarfile
from functools import partial

from core.ingest.limits import MEBIBYTE, IngestLimits
from tests.abuse.archive_cases import ArchiveCase, accept, make_set, refuse
from tests.abuse.forgery import (
    SKIPPABLE_FRAME,
    compress_gz,
    compress_zst,
    make_header,
    make_pax_tar,
    make_special_tar,
    make_tar,
)
from tests.abuse.zip_cases import UNSAFE_NAMES
from tests.pictures import Member

SPECIAL_KINDS = {
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "sparse file": tarfile.GNUTYPE_SPARSE,
}
OTHER_FILES = {
    "empty file": b"",
    "text": b"path,label\n" * 100,
    "zeros": bytes(100_000),
    "7z": b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(600),
    "rar": b"Rar!\x1a\x07\x01\x00" + bytes(600),
    "PDF": b"%PDF-1.7" + bytes(600),
    "program": b"\x7fELF\x02\x01\x01" + bytes(600),
}


def list_tar_cases(seed: int) -> list[ArchiveCase]:
    good = list(make_set(seed))
    tar = make_tar(good)
    gz, zst = compress_gz(tar), compress_zst(tar)
    long_names = [(f"{'x' * 120}/{'y' * 100}/../{name}".replace("/../", "/"), content) for name, content in good]
    return [
        accept("tar, ustar", lambda: make_tar(good, tar_format=tarfile.USTAR_FORMAT)),
        accept("tar, GNU, with long names", lambda: make_tar(_nest(good), tar_format=tarfile.GNU_FORMAT)),
        accept("tar, pax, with long names", lambda: make_tar(_nest(good))),
        accept("tar with folders and ./", lambda: make_tar(good, folders=True)),
        accept("tar.gz", lambda: gz),
        accept("tar.gz in several members", lambda: compress_gz(tar, pieces=7)),
        accept("tar.zst", lambda: zst),
        accept("tar.zst in several frames", lambda: compress_zst(tar, pieces=7, skippable=SKIPPABLE_FRAME)),
        accept("tar.zst with a window of 128 MiB", lambda: compress_zst(tar, window_log=27)),
        accept("tar.gz of 60 MiB of zeros", lambda: compress_gz(make_tar([*good, ("z.bin", bytes(60 * MEBIBYTE))]))),
        *(refuse(what, "not_an_archive", partial(bytes, content)) for what, content in OTHER_FILES.items()),
        refuse("tar.bz2", "not_an_archive", lambda: bz2.compress(tar)),
        refuse("tar.xz", "not_an_archive", lambda: lzma.compress(tar)),
        refuse("gzip of a text", "archive_damaged", lambda: gzip.compress(b"hello\n" * 1000)),
        *_list_special(good),
        *_list_damaged(good, tar, gz, zst),
        *_list_bombs(good),
        *(
            refuse(f"tar with a name: {what}", "archive_unsafe_name", partial(_add_name, good, name))
            for what, name in UNSAFE_NAMES.items()
        ),
        refuse(
            "tar with a name that is not UTF-8",
            "archive_unsafe_name",
            lambda: make_tar([("caf\udce9/x.png", b"x"), *good], tar_format=tarfile.GNU_FORMAT),
        ),
        refuse("tar of one long name", "one_class", lambda: make_tar(long_names)),
    ]


def _nest(members: list[Member]) -> list[Member]:
    return [(name.replace("/", f"/{'deep' * 30}/{'er' * 40}/"), content) for name, content in members]


def _list_special(good: list[Member]) -> list[ArchiveCase]:
    special = "archive_special_member"
    return [
        *(
            refuse(f"tar with a {what}", special, partial(make_special_tar, good, kind, target="../../canary"))
            for what, kind in SPECIAL_KINDS.items()
        ),
        refuse("tar with a sparse pax file", special, lambda: make_pax_tar(good, {"GNU.sparse.major": "1"})),
        refuse("tar with a link that leads out", special, lambda: make_special_tar(good, tarfile.SYMTYPE, target="/")),
    ]


def _list_damaged(good: list[Member], tar: bytes, gz: bytes, zst: bytes) -> list[ArchiveCase]:
    damaged = "archive_damaged"
    return [
        refuse("tar cut in half", damaged, lambda: tar[: len(tar) // 2]),
        refuse("tar with more behind it", damaged, lambda: tar + b"more"),
        refuse("tar with a damaged header", damaged, lambda: tar.replace(b"cat/3.png", b"cat/X.png")),
        refuse("tar with a negative size", damaged, lambda: make_header("cat/x.png", b"\xff" * 12) + tar),
        refuse("tar with a size in base 256", damaged, lambda: make_header("x", b"\x80" + bytes(10) + b"\x01") + tar),
        refuse("tar with a huge size", damaged, lambda: make_header("cat/x.png", b"77777777777\0") + tar),
        refuse("tar with a size of two kinds", damaged, lambda: make_pax_tar(good, {"size": "5"})),
        refuse("tar with one pax name for all", damaged, lambda: make_pax_tar(good, {"path": "x"}, is_global=True)),
        refuse(
            "tar with a pax header of 16 MiB",
            damaged,
            lambda: make_header("x", b"00100000000\0", b"x") + bytes(MEBIBYTE),
        ),
        refuse(
            "tar with a damaged pax record",
            damaged,
            lambda: make_header("x", b"00000000004\0", b"x") + b"9 a=".ljust(512, b"\0") + tar,
        ),
        refuse("tar.gz cut in half", damaged, lambda: gz[: len(gz) // 2]),
        refuse("tar.gz without its checksum", damaged, lambda: gz[:-6]),
        refuse("tar.gz with a wrong checksum", damaged, lambda: gz[:-8] + bytes(8)),
        refuse("tar.gz with more behind it", damaged, lambda: gz + b"more"),
        refuse("tar.zst cut in half", damaged, lambda: zst[: len(zst) // 2]),
        refuse("tar.zst without its checksum", damaged, lambda: zst[:-4]),
        refuse("tar.zst with a wrong checksum", damaged, lambda: zst[:-4] + bytes(4)),
        refuse("tar.zst with more behind it", damaged, lambda: zst + b"more"),
        refuse(
            "tar.zst with a window of 256 MiB",
            "archive_compression_unsupported",
            lambda: compress_zst(make_tar(good), window_log=28),
        ),
        refuse("tar.gz that is a zip too", "archive_ambiguous", lambda: gz + b"PK\x05\x06" + bytes(18)),
    ]


def _list_bombs(good: list[Member]) -> list[ArchiveCase]:
    tar = make_tar(good)
    zeros = make_header("cat/x.bmp", b"07777777777\0") + bytes(100 * MEBIBYTE)
    names = b"".join(make_header("././@LongLink", b"00000000001\0", b"L") + b"x".ljust(512, b"\0") for _ in range(2000))
    return [
        refuse("tar.gz of 100 MiB of zeros", "archive_bomb", lambda: compress_gz(zeros)),
        refuse("tar.zst of 100 MiB of zeros", "archive_bomb", lambda: compress_zst(zeros)),
        refuse("tar.gz with zeros behind its end", "archive_bomb", lambda: compress_gz(tar + bytes(100 * MEBIBYTE))),
        refuse(
            "tar.gz of 100,001 members",
            "archive_too_many_members",
            lambda: compress_gz(make_header("n", b"0".zfill(11) + b"\0") * 100_001),
        ),
        refuse("tar.zst of 102,000 headers of names", "archive_bomb", lambda: compress_zst(names * 51)),
        refuse(
            "tar larger than allowed", "archive_too_large", lambda: tar, IngestLimits(max_unpacked_bytes=len(tar) - 1)
        ),
    ]


def _add_name(members: list[Member], name: str) -> bytes:
    return make_tar([*members, (name, b"x")])

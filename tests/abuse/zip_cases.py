"""Archives that are zips, and files that are nearly one."""

import struct
import zipfile
from functools import partial

from core.ingest.limits import MEBIBYTE
from tests.abuse.archive_cases import ArchiveCase, accept, make_set, refuse
from tests.abuse.forgery import (
    add_zip64_end,
    encrypt_in_name,
    find_directory,
    hide_last_member,
    make_tar,
    make_zip,
    make_zip64,
    patch,
    patch_end,
    repeat_entry,
    set_mode,
    stream_zip,
)
from tests.pictures import Member

UNSAFE_NAMES = {
    "leads out": "../x.png",
    "leads out from inside": "cat/../../x.png",
    "absolute": "/etc/x.png",
    "drive": "C:/x.png",
    "drive without a slash": "C:x.png",
    "backslash": "..\\x.png",
    "control character": "cat/x\x07.png",
    "new line": "cat/x\n.png",
    "turned writing": "cat/\u202egnp.exe",
    "long part": "c" * 256 + "/x.png",
    "long path": "c/" * 600 + "x.png",
    "no name": ".",
}


def list_zip_cases(seed: int) -> list[ArchiveCase]:
    good = list(make_set(seed))
    one = make_zip(good, compression=zipfile.ZIP_STORED)
    return [
        accept("zip, deflated", lambda: make_zip(good)),
        accept("zip, stored", lambda: one),
        accept("zip of a streaming writer", lambda: stream_zip(good)),
        accept("zip with zip64 members", lambda: make_zip64(good)),
        accept("zip with a zip64 end", lambda: add_zip64_end(one)),
        accept("zip with a comment", lambda: make_zip(good, comment=b"made by hand " * 100)),
        accept("zip with folders", lambda: make_zip([("cat/", b""), ("dog/", b""), *good])),
        accept("zip in another order", lambda: make_zip(good[::-1])),
        accept("zip with UTF-8 names without the flag", lambda: _drop_utf8_flag(seed)),
        accept("zip with reserved names", lambda: make_zip([*good, ("cat/CON", b"x"), ("dog/nul.txt", b"x")])),
        accept("zip of 3,000 other files", lambda: make_zip([*good, *((f"notes/{n}.txt", b"x") for n in range(3000))])),
        *_list_damaged(good, one),
        *_list_confused(good, one),
        *_list_bombs(good),
        *(
            refuse(f"zip with a name: {what}", "archive_unsafe_name", partial(_add_name, good, name))
            for what, name in UNSAFE_NAMES.items()
        ),
        refuse("zip with a name in cp437", "archive_unsafe_name", lambda: _write_cp437_name(good)),
        refuse(
            "zip with a NUL in a name",
            "archive_unsafe_name",
            lambda: make_zip([*good, ("cat/x_.png", b"x")]).replace(b"x_.png", b"x\0.png"),
        ),
    ]


def _list_damaged(good: list[tuple[str, bytes]], one: bytes) -> list[ArchiveCase]:
    damaged = "archive_damaged"
    return [
        refuse("zip cut in half", damaged, lambda: one[: len(one) // 2]),
        refuse("zip without its last byte", damaged, lambda: make_zip(good, comment=b"xy")[:-1]),
        refuse("zip with a byte behind it", damaged, lambda: one + b"x"),
        refuse("zip behind other bytes", damaged, lambda: b"PK\x03\x04" + bytes(40) + one),
        refuse("zip with a wrong checksum", damaged, lambda: patch(one, 40 + len(good[0][0]), "<L", 0)),
        refuse("zip of two disks", damaged, lambda: patch_end(one, 4, "<2H", 1, 1)),
        refuse("zip with a damaged deflate stream", damaged, lambda: _break_deflate(good)),
        refuse("zip with a directory of zeros", damaged, lambda: _clear_directory(one)),
    ]


def _list_confused(good: list[tuple[str, bytes]], one: bytes) -> list[ArchiveCase]:
    """Two readers would see two archives."""
    damaged = "archive_damaged"
    at = find_directory(one)
    return [
        refuse("zip that counts one member more", damaged, lambda: patch_end(one, 8, "<2H", 13, 13)),
        refuse("zip that counts one member less", damaged, lambda: patch_end(one, 8, "<2H", 11, 11)),
        refuse("zip with a hidden member", damaged, lambda: hide_last_member(one)),
        refuse("zip whose entries name one member", damaged, lambda: repeat_entry(one, 12)),
        refuse("zip with a shorter size in the entry", damaged, lambda: patch(one, at + 24, "<L", 10)),
        refuse("zip with a longer size in the entry", damaged, lambda: patch(one, at + 24, "<L", 100_000)),
        refuse("zip with another size in the header", damaged, lambda: patch(one, 22, "<L", 10)),
        refuse("zip with another method in the header", damaged, lambda: patch(one, 8, "<H", 8)),
        refuse("zip with another name in the header", damaged, lambda: patch(one, 30, "<B", ord("b"))),
        refuse("zip with a locator that points elsewhere", damaged, lambda: add_zip64_end(one, locator_at=0)),
        refuse("zip with one name twice", "archive_duplicate_name", lambda: make_zip([*good, ("./cat/0.png", b"x")])),
        refuse(
            "zip with one name composed in two ways",
            "archive_duplicate_name",
            lambda: make_zip([*good, ("cat/\u00e9.png", b"x"), ("cat/e\u0301.png", b"y")]),
        ),
        refuse("zip that is a tar too", "archive_ambiguous", lambda: make_tar(good) + make_zip([])),
        refuse("encrypted zip", "archive_encrypted", lambda: encrypt_in_name(one)),
        refuse(
            "zip with bzip2", "archive_compression_unsupported", lambda: make_zip(good, compression=zipfile.ZIP_BZIP2)
        ),
        refuse(
            "zip with lzma", "archive_compression_unsupported", lambda: make_zip(good, compression=zipfile.ZIP_LZMA)
        ),
        refuse("zip with a link", "archive_special_member", lambda: set_mode("cat/x.png", b"../../canary", 0o120777)),
        refuse("zip with a device", "archive_special_member", lambda: set_mode("cat/x.png", b"", 0o020666)),
        refuse("zip with a pipe", "archive_special_member", lambda: set_mode("cat/x.png", b"", 0o010666)),
    ]


def _list_bombs(good: list[tuple[str, bytes]]) -> list[ArchiveCase]:
    zeros = bytes(20 * MEBIBYTE)
    noise = good[0][1]
    return [
        refuse("zip with a member of 20 MiB of zeros", "archive_bomb", lambda: make_zip([*good, ("cat/x.bmp", zeros)])),
        refuse("zip that unpacks to 80 MiB", "archive_bomb", lambda: make_zip([*good, *_make_dense_members()])),
        refuse(
            "zip of 100,001 members",
            "archive_too_many_members",
            lambda: make_zip([*good, *((f"n/{number}", b"") for number in range(100_001 - len(good)))]),
        ),
        accept("zip in a zip", lambda: make_zip([*good, ("cat/more.zip", make_zip([("x.bmp", zeros)]))])),
        accept("zip of 1 MiB of zeros", lambda: make_zip([*good, ("zeros.bin", bytes(MEBIBYTE))])),
        accept("zip with a long text", lambda: make_zip([*good, ("log.txt", noise * 3000)])),
    ]


def _make_dense_members() -> list[tuple[str, bytes]]:
    """Each by itself stays under the ratio for a member."""
    return [(f"cat/{number}.bmp", (struct.pack("<L", number) + bytes(600)) * 1700) for number in range(80)]


def _drop_utf8_flag(seed: int) -> bytes:
    content = make_zip([(name.replace("cat", "cat\u00e9"), picture) for name, picture in make_set(seed)])
    at, changed = 0, bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            changed[at + offset + 1] &= 0xF7
            at = content.find(signature, at + 4)
    return bytes(changed)


def _write_cp437_name(good: list[tuple[str, bytes]]) -> bytes:
    return make_zip([*good, ("cat/x_.png", b"x")]).replace(b"x_.png", b"x\x82.png")


def _break_deflate(good: list[tuple[str, bytes]]) -> bytes:
    return patch(make_zip([("cat/x.txt", b"hello " * 100), *good]), 40, "<4B", 255, 255, 255, 255)


def _clear_directory(content: bytes) -> bytes:
    at, end = find_directory(content), content.rindex(b"PK\x05\x06")
    return content[:at] + bytes(end - at) + content[end:]


def _add_name(members: list[Member], name: str) -> bytes:
    return make_zip([*members, (name, b"x")])

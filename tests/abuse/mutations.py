"""The group `mutations`: good archives and pictures with seeded damage; either verdict is right, if there is one."""

import random
from collections.abc import Iterator, Sequence
from functools import cache

from core.ingest.limits import IngestLimits
from tests.abuse import pictures
from tests.abuse.archive_cases import make_set
from tests.abuse.forgery import (
    SKIPPABLE_FRAME,
    add_zip64_end,
    compress_gz,
    compress_zst,
    make_tar,
    make_zip,
    stream_zip,
)
from tests.abuse.imports import LIMITS, map_side_by_side, open_archive
from tests.abuse.verdict import Verdict
from tests.pictures import Member, encode, make_picture

INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


def run(*, seed: int = 0, numbers: Sequence[int] = range(2000), limits: IngestLimits = LIMITS) -> Iterator[Verdict]:
    """Each number is one mutation, the same wherever it runs."""

    def judge(number: int) -> Verdict:
        name, archive = mutate(seed, number)
        opened = open_archive(archive, limits)
        return Verdict(
            group="mutations",
            name=name,
            expected="accept" if opened.got == "accept" else "refuse",
            got=opened.got,
            code=opened.code if opened.got != "crash" else f"{opened.code} {opened.message[-300:]}",
            seconds=opened.seconds,
            rss_mb=opened.rss_mb,
        )

    yield from map_side_by_side(judge, list(numbers))


def mutate(seed: int, number: int) -> tuple[str, bytes]:
    """A name and an archive: itself damaged, or one that holds a damaged picture."""
    generator = random.Random(f"{seed}:{number}")  # noqa: S311  # no secret
    if number % 2:
        name, content = generator.choice(_list_archives(seed))
        return f"{number} {name}", _damage(content, generator)
    name, content = generator.choice(_list_pictures(seed))
    return f"{number} {name}", make_zip([*make_set(seed), ("cat/case.png", _damage(content, generator))])


@cache
def _list_archives(seed: int) -> tuple[tuple[str, bytes], ...]:
    good = list(make_set(seed))
    labels = "path,label,split\n" + "\n".join(f"{name},{name[:3]},train" for name, _ in good)
    labelled: list[Member] = [*good, ("labels.csv", labels.encode())]
    tar = make_tar(good)
    return (
        ("zip", make_zip(good)),
        ("zip of a streaming writer", stream_zip(good)),
        ("zip with a zip64 end", add_zip64_end(make_zip(good))),
        ("zip with labels", make_zip(labelled, compression=0)),
        ("tar", tar),
        ("tar with labels", make_tar(labelled)),
        ("tar.gz", compress_gz(tar, pieces=2)),
        ("tar.zst", compress_zst(tar, pieces=2, skippable=SKIPPABLE_FRAME)),
    )


@cache
def _list_pictures(seed: int) -> tuple[tuple[str, bytes], ...]:
    rgb = make_picture(99_000_000 + seed, (64, 48))
    large = {name: encode(rgb, name) for name in ("JPEG", "PNG", "WEBP", "BMP", "GIF")}
    cases = [case for case in pictures.list_cases(seed) if case.expected == "accept" and "million" not in case.name]
    return (*large.items(), *((case.name, case.make()) for case in cases))


def _damage(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        _damage_once(changed, generator)
    return bytes(changed)


def _damage_once(content: bytearray, generator: random.Random) -> None:
    at = _choose_place(len(content), generator)
    size = generator.choice((1, 2, 4, 8, 64, 512))
    match generator.randrange(7):
        case 0:
            content[at : at + 1] = bytes([generator.randrange(256)])
        case 1:
            content[at : at + 1] = bytes([generator.choice(INTERESTING)])
        case 2:
            content[at : at + 4] = generator.randbytes(4)
        case 3:
            del content[at : at + size]
        case 4:
            content[at:at] = content[at : at + size]
        case 5:
            other = _choose_place(len(content), generator)
            content[at : at + size] = content[other : other + size]
        case _:
            if generator.random() < 0.3:  # else nearly every one would be cut off
                del content[at:]


def _choose_place(size: int, generator: random.Random) -> int:
    """Headers stand at both ends, and there most is decided."""
    match generator.randrange(4):
        case 0:
            return generator.randrange(max(1, min(size, 64)))
        case 1:
            return max(0, size - 1 - generator.randrange(128))
        case _:
            return generator.randrange(max(1, size))

"""The second walk through an archive: each picture is decoded once, checked, and written to a shard."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from PIL import Image

from core.dataset_index import IndexEntry
from core.images import ImageError, ImageLimits, decode_rgb
from core.ingest.findings import FindingCode, FindingLog
from core.ingest.layout import Layout, Place, normalise
from core.ingest.members import Member
from core.ingest.shards import ShardWriter
from core.ingest.survey import FileKind, classify

TINY_SIDE = 16


class Packer:
    """Makes samples of members; what becomes none is left out with a finding."""

    def __init__(self, layout: Layout, limits: ImageLimits, shards: ShardWriter, log: FindingLog) -> None:
        self._layout = layout
        self._labels = {name: label for label, name in enumerate(layout.classes)}
        self._limits = limits
        self._shards = shards
        self._log = log

    def pack(self, members: Iterable[Member], on_picture: Callable[[], None]) -> Iterator[IndexEntry]:
        for member in members:
            if member.parts == self._layout.labels_file:
                continue
            match classify(member):
                case FileKind.IGNORED:
                    pass
                case FileKind.OTHER:
                    self._log.add(FindingCode.NOT_AN_IMAGE, _path(member), "it is no picture")
                case FileKind.PICTURE:
                    on_picture()
                    yield from self._pack_picture(member)
                case _ as kind:
                    assert_never(kind)

    def _pack_picture(self, member: Member) -> Iterator[IndexEntry]:
        place = self._layout.locate(member.parts)
        if place is None:
            code, message = self._layout.explain_outside()
            self._log.add(code, _path(member), message)
            return
        try:
            picture = decode_rgb(member.content, self._limits)
        except ImageError as exc:
            self._log.add(FindingCode(exc.code), _path(member), exc.message)
            return
        if min(picture.size) < TINY_SIDE:
            message = f"it is only {picture.width} x {picture.height}"
            self._log.add(FindingCode.IMAGE_TINY, _path(member), message)
        yield self._write(member, place, picture)

    def _write(self, member: Member, place: Place, picture: Image.Image) -> IndexEntry:
        sha256 = hashlib.sha256(member.content).hexdigest()
        path = _path(member)
        sample_id = hashlib.sha256(f"{path}\n{sha256}".encode()).hexdigest()[:32]
        location = self._shards.write(sample_id, member.content)
        return IndexEntry(
            sample_id=sample_id,
            shard=location.shard,
            offset=location.offset,
            size_bytes=len(member.content),
            label=self._labels[place.class_name],
            split=place.split,
            width=picture.width,
            height=picture.height,
            sha256=sha256,
            path=path,
            duplicate_group=_hash_pixels(picture),
        )


def _path(member: Member) -> str:
    return normalise("/".join(member.parts))


def _hash_pixels(picture: Image.Image) -> str:
    size = f"{picture.width} x {picture.height}\n".encode()
    return hashlib.sha256(size + picture.tobytes()).hexdigest()

"""The second walk through an archive: each picture is decoded once, checked, and written to a shard."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from core.dataset_index import IndexEntry
from core.ingest.decoders import Decoders
from core.ingest.findings import FindingCode, FindingLog
from core.ingest.judgement import judge
from core.ingest.layout import Layout, Place, normalise
from core.ingest.members import Member
from core.ingest.pictures import Inspected, Inspection, Unusable
from core.ingest.shards import Location, ShardPair
from core.ingest.survey import FileKind, classify

FIELDS = set(IndexEntry.model_fields)  # one for all entries: a set of its own takes half of the memory of each
BATCH_PICTURES = 32
BATCH_BYTES = 1024**2


class PackedSample(NamedTuple):
    entry: IndexEntry
    signature: bytes
    thumbnail: Location


class _Picture(NamedTuple):
    path: str
    place: Place
    content: bytes


@dataclass
class _Batch:
    """What one decoder takes at once: each way through a pipe costs time."""

    pictures: list[_Picture] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def contents(self) -> list[bytes]:
        return [picture.content for picture in self.pictures]

    @property
    def is_full(self) -> bool:
        return len(self.pictures) == BATCH_PICTURES or self.size_bytes >= BATCH_BYTES

    def add(self, picture: _Picture) -> None:
        self.pictures.append(picture)
        self.size_bytes += len(picture.content)


class Packer:
    """Makes samples of members; what becomes none is left out with a finding."""

    def __init__(self, layout: Layout, decoders: Decoders, shards: ShardPair, log: FindingLog) -> None:
        self._layout = layout
        self._labels = {name: label for label, name in enumerate(layout.classes)}
        self._decoders = decoders
        self._shards = shards
        self._log = log

    def pack(self, members: Iterable[Member], on_picture: Callable[[], None]) -> Iterator[PackedSample]:
        for batch, inspections in self._decoders.inspect(self._batch(members, on_picture)):
            for picture, inspection in zip(batch.pictures, inspections, strict=True):
                on_picture()
                yield from self._take(picture, inspection)

    def _batch(self, members: Iterable[Member], on_picture: Callable[[], None]) -> Iterator[_Batch]:
        batch = _Batch()
        for picture in self._list_pictures(members, on_picture):
            batch.add(picture)
            if batch.is_full:
                yield batch
                batch = _Batch()
        if batch.pictures:
            yield batch

    def _list_pictures(self, members: Iterable[Member], on_picture: Callable[[], None]) -> Iterator[_Picture]:
        for member in members:
            if member.parts == self._layout.labels_file:
                continue
            match classify(member):
                case FileKind.IGNORED:
                    pass
                case FileKind.OTHER:
                    self._log.add(FindingCode.NOT_AN_IMAGE, _path(member), "it is no picture")
                case FileKind.PICTURE:
                    place = self._layout.locate(member.parts)
                    if place is not None:
                        yield _Picture(_path(member), place, member.content)
                        continue
                    on_picture()
                    code, message = self._layout.explain_outside()
                    self._log.add(code, _path(member), message)
                case _ as kind:
                    assert_never(kind)

    def _take(self, picture: _Picture, inspection: Inspection) -> Iterator[PackedSample]:
        match inspection:
            case Unusable(code, message):
                self._log.add(FindingCode(code), picture.path, message)
            case Inspected():
                sample = self._write(picture, inspection)
                judge(sample.entry, inspection, self._log)
                yield sample
            case _:
                assert_never(inspection)

    def _write(self, picture: _Picture, inspected: Inspected) -> PackedSample:
        sample_id = hashlib.sha256(f"{picture.path}\n{inspected.sha256}".encode()).hexdigest()[:32]
        location = self._shards.pictures.write(sample_id, picture.content)
        entry = IndexEntry.model_construct(
            FIELDS,
            sample_id=sample_id,
            shard=sys.intern(f"{location.number}.tar"),
            offset=location.offset,
            size_bytes=location.size_bytes,
            label=self._labels[picture.place.class_name],
            split=picture.place.split,
            width=inspected.width,
            height=inspected.height,
            sha256=inspected.sha256,
            path=picture.path,
            duplicate_group=inspected.pixels_sha256,
        )
        thumbnail = self._shards.thumbnails.write(f"{sample_id}.jpg", inspected.thumbnail)
        return PackedSample(entry, inspected.signature, thumbnail)


def _path(member: Member) -> str:
    return normalise("/".join(member.parts))

"""Inspects pictures in a process of its own, forked from the import process, under the limits that it inherits.

A request is a line of JSON, the sizes of the pictures, and then their bytes. The answer is a line of JSON, an item a
picture, and then signature and thumbnail of each that can be used.
"""

import json
from typing import IO, Any

from core.images import ImageLimits
from core.ingest import sandbox
from core.ingest.pictures import SIGNATURE_BYTES, Inspected, Inspection, Unusable, inspect


def serve(requests: IO[bytes], answers: IO[bytes], limits: ImageLimits) -> None:
    """Until the requests end."""
    sandbox.die_by_signal()
    while line := requests.readline():
        contents = [requests.read(size) for size in json.loads(line)]
        write_answer(answers, [inspect(content, limits) for content in contents])


def write_request(stream: IO[bytes], contents: list[bytes]) -> None:
    stream.write(json.dumps([len(content) for content in contents]).encode() + b"\n")
    stream.writelines(contents)
    stream.flush()


def write_answer(stream: IO[bytes], inspections: list[Inspection]) -> None:
    stream.write(json.dumps([_describe(inspection) for inspection in inspections]).encode() + b"\n")
    for inspection in inspections:
        if isinstance(inspection, Inspected):
            stream.write(inspection.signature)
            stream.write(inspection.thumbnail)
    stream.flush()


def read_answer(stream: IO[bytes]) -> list[Inspection]:
    """Raises EOFError when the decoder is gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return [_read_inspection(stream, item) for item in json.loads(line)]


def _describe(inspection: Inspection) -> list[object]:
    if isinstance(inspection, Unusable):
        return [*inspection]
    width, height, image_format, oddities, sha256, pixels_sha256, _, thumbnail = inspection
    return [width, height, image_format, oddities, sha256, pixels_sha256, len(thumbnail)]


def _read_inspection(stream: IO[bytes], item: list[Any]) -> Inspection:  # what `_describe` makes
    if len(item) == len(Unusable._fields):
        return Unusable(*map(str, item))
    width, height, image_format, oddities, sha256, pixels_sha256, thumbnail_bytes = item
    return Inspected(
        width=width,
        height=height,
        image_format=image_format,
        oddities=tuple(oddities),
        sha256=sha256,
        pixels_sha256=pixels_sha256,
        signature=_read(stream, SIGNATURE_BYTES),
        thumbnail=_read(stream, thumbnail_bytes),
    )


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content

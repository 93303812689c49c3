"""Makes pictures and archives for tests."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

Member = tuple[str, bytes]
ArchiveFormat = Literal["zip", "tar", "tar.gz"]


def make_picture(seed: int, size: tuple[int, int] = (32, 24)) -> Image.Image:
    """A small RGB picture of noise; another seed gives another picture."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def encode(picture: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    own = picture.copy()  # `save` leaves its options on the picture, which threads may share
    own.save(buffer, image_format, **options)
    return buffer.getvalue()


def make_members(counts: Mapping[str, int], *, size: tuple[int, int] = (32, 24)) -> list[Member]:
    """A folder per class, with as many distinct pictures as asked."""
    members = []
    for class_index, (name, count) in enumerate(counts.items()):
        for index in range(count):
            members.append((f"{name}/{index}.png", encode(make_picture(class_index * 10_000 + index, size))))
    return members


def make_archive(path: Path, counts: Mapping[str, int], *, kind: ArchiveFormat = "zip", prefix: str = "") -> Path:
    """A folder-per-class archive below `prefix`, e.g. `make_archive(path, {"cat": 10, "dog": 10})`."""
    members = [(prefix + name, content) for name, content in make_members(counts)]
    match kind:
        case "zip":
            return write_zip(path, members)
        case "tar":
            return write_tar(path, members)
        case "tar.gz":
            return write_tar(path, members, mode="w:gz")


def write_zip(path: Path, members: list[Member], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: list[Member], *, mode: Literal["w", "w:gz"] = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            archive.addfile(_describe(name, len(content)), io.BytesIO(content))
    return path


def _describe(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member

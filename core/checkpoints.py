"""Checkpoints in the store: parts first, then the manifest; the row that names the manifest's SHA-256 comes last."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.storage import Storage, StoredObject
from core.storage_errors import ObjectCorruptError

MANIFEST_FILE = "manifest.json"


class ManifestPart(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    size_bytes: int
    sha256: str


class Manifest(BaseModel):
    """What makes a set of objects one checkpoint."""

    model_config = ConfigDict(frozen=True)

    format_version: int = 1
    step: int
    epoch: int
    parts: list[ManifestPart]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)


def upload_checkpoint(
    storage: Storage, prefix: str, directory: Path, *, files: list[str], step: int, epoch: int
) -> tuple[Manifest, StoredObject]:
    """The manifest and its own size and hash, which the row records."""
    parts = []
    for name in files:
        stored = storage.put_file(prefix + name, directory / name)
        parts.append(ManifestPart(name=name, size_bytes=stored.size_bytes, sha256=stored.sha256))
    manifest = Manifest(step=step, epoch=epoch, parts=parts)
    content = manifest.model_dump_json().encode()
    storage.put_once(prefix + MANIFEST_FILE, content)
    return manifest, StoredObject(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def read_manifest(storage: Storage, prefix: str, *, sha256: str) -> Manifest:
    content = storage.get_bytes(prefix + MANIFEST_FILE)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ObjectCorruptError("checkpoint_corrupt", f"the manifest of {prefix} is not the one that was recorded")
    return Manifest.model_validate_json(content)


def download_checkpoint(storage: Storage, prefix: str, directory: Path, *, sha256: str) -> None:
    """Every part is verified; raises ObjectCorruptError or ObjectMissingError when one is not what it was.

    `directory` is made, but not its parent: where that is gone, nobody waits for the checkpoint any more.
    """
    manifest = read_manifest(storage, prefix, sha256=sha256)
    for part in manifest.parts:
        directory.mkdir(exist_ok=True)
        storage.download_file(prefix + part.name, directory / part.name, sha256=part.sha256)

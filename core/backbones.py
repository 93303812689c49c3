"""Pre-trained backbones that the operator put into the store."""

import hashlib
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db.tables import Backbone
from core.errors import InvalidInputError
from core.specs import BackboneDescription
from core.storage import Storage, StoredObject
from core.storage_keys import backbone_key


def store_weights(storage: Storage, name: str, weights: Path) -> StoredObject:
    """Puts the weights under a key that carries their SHA-256. Call it outside any transaction."""
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return storage.put_file(backbone_key(name, sha256), weights)


def register_backbone(session: Session, *, description: BackboneDescription, stored: StoredObject) -> None:
    """Makes stored weights known; a backbone registered before is replaced, its old weights stay in the store."""
    session.merge(
        Backbone(
            name=description.name,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            description=description.model_dump(),
        )
    )


def list_backbones(session: Session) -> list[Backbone]:
    return list(session.scalars(select(Backbone).order_by(Backbone.name)))


def get_backbone(session: Session, name: str, sha256: str | None = None) -> Backbone:
    """The registered backbone, with the weights that the spec pins if it pins any."""
    backbone = session.get(Backbone, name)
    if backbone is None:
        known = ", ".join(row.name for row in list_backbones(session)) or "none yet"
        raise InvalidInputError(
            "unknown_backbone",
            f"the backbone '{name}' is not registered here",
            hint=f"registered: {known}; an operator adds one with `bitune backbones add {name}`",
            param="backbone",
        )
    if sha256 is not None and sha256 != backbone.sha256:
        raise InvalidInputError(
            "backbone_changed",
            f"the registered weights of '{name}' have another SHA-256 than the spec pins",
            hint="leave `backbone_sha256` out to use the registered weights",
            param="backbone_sha256",
        )
    return backbone

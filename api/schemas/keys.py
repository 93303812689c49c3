"""API keys on the wire."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from api.schemas.common import ApiModel, Name
from core.db.tables import Key
from core.keys import Scope


class KeyCreate(ApiModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "line-3", "scopes": ["read", "predict"]}]})

    name: Name
    scopes: list[Scope] = Field(default=["read", "write", "predict"], min_length=1)


class KeyOut(ApiModel):
    id: str
    object: Literal["key"] = "key"
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyCreated(KeyOut):
    secret: str = Field(description="Shown this once")


def render_key(key: Key) -> KeyOut:
    return KeyOut(
        id=key.id,
        name=key.name,
        scopes=key.scopes,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )

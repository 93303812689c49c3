"""API keys on the wire."""

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from api.schemas.common import ApiModel, Name
from core.db.tables import Key
from core.keys import Scope


class KeyCreate(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "line-3", "scopes": ["read", "predict"], "expires_in_days": 90}]}
    )

    name: Name
    scopes: list[Scope] = Field(default=["read", "write", "predict"], min_length=1)
    expires_at: AwareDatetime | None = Field(None, description="When it ends; never, unless it is revoked")
    expires_in_days: int | None = Field(None, ge=1, le=3650, description="Instead of `expires_at`")


class KeyOut(ApiModel):
    id: str
    object: Literal["key"] = "key"
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute")


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
        last_used_at=key.last_used_at,
    )

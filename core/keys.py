"""API keys: made once, shown once, looked up by the hash of their secret."""

import hashlib
import secrets
from typing import Literal, NamedTuple, get_args

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from core.db.tables import Key, Project
from core.errors import InvalidInputError, NotFoundError, UnauthenticatedError
from core.ids import make_id
from core.paging import Page, PageRequest, fetch_page

Scope = Literal["read", "write", "predict", "admin"]
ALL_SCOPES: tuple[str, ...] = get_args(Scope)
DEFAULT_PROJECT = "default"
PREFIX = "bt_"


class NewKey(NamedTuple):
    """The one moment at which the secret is known."""

    id: str
    secret: str


class Principal(NamedTuple):
    """Who asks: a key of a project."""

    key_id: str
    project_id: str
    scopes: frozenset[str]


def ensure_project(session: Session, name: str = DEFAULT_PROJECT) -> str:
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if project is None:
        project = Project(id=make_id("proj"), name=name)
        session.add(project)
        session.flush()
    return project.id


def create_key(session: Session, *, project_id: str | None, name: str, scopes: tuple[str, ...]) -> NewKey:
    unknown = set(scopes) - set(ALL_SCOPES)
    if unknown or not scopes:
        raise InvalidInputError(
            "unknown_scope",
            f"no such scope: {', '.join(sorted(unknown)) or '(none)'}",
            hint=f"use {', '.join(ALL_SCOPES)}",
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    key = Key(
        id=make_id("key"),
        project_id=project_id or ensure_project(session),
        name=name,
        secret_sha256=_hash(secret),
        scopes=sorted(scopes),
    )
    session.add(key)
    session.flush()
    return NewKey(id=key.id, secret=secret)


def authenticate(session: Session, secret: str) -> Principal:
    """256 random bits need no slow hash: the index on their SHA-256 is the look-up."""
    query = select(Key.id, Key.project_id, Key.scopes).where(Key.secret_sha256 == _hash(secret), *_is_valid())
    key = session.execute(query).one_or_none()
    if key is None:
        raise _invalid_key()
    return Principal(key_id=key.id, project_id=key.project_id, scopes=frozenset(key.scopes))


def require_valid(session: Session, key_id: str) -> None:
    """For what goes on after its request was admitted."""
    query = select(Key.id).where(Key.id == key_id, *_is_valid())
    if session.scalar(query) is None:
        raise _invalid_key()


def get_key(session: Session, project_id: str, key_id: str) -> Key:
    key = session.scalars(select(Key).where(Key.project_id == project_id, Key.id == key_id)).one_or_none()
    if key is None:
        raise NotFoundError("key_not_found", "there is no such key")
    return key


def list_keys(session: Session, project_id: str, page: PageRequest) -> Page[Key]:
    return fetch_page(session, select(Key).where(Key.project_id == project_id), Key.id, page)


def revoke_key(session: Session, project_id: str, key_id: str) -> None:
    """Takes effect at the next request; revoking twice is fine."""
    key = get_key(session, project_id, key_id)
    key.revoked_at = key.revoked_at or session.scalar(select(func.clock_timestamp()))


def _is_valid() -> tuple[ColumnElement[bool], ...]:
    return (Key.revoked_at.is_(None), func.coalesce(Key.expires_at > func.clock_timestamp(), True))


def _invalid_key() -> UnauthenticatedError:
    return UnauthenticatedError("invalid_key", "the API key is unknown, expired or revoked", hint="make a new key")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

"""API keys: made once, shown once, looked up by the hash of their secret."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Literal, NamedTuple, get_args

from sqlalchemy import BigInteger, ColumnElement, Select, and_, bindparam, case, func, literal, select, update
from sqlalchemy.orm import Session

from core.db.session import Connected
from core.db.tables import Key, Project
from core.db.tenant_tables import ProjectQuota
from core.errors import InvalidInputError, NotFoundError, UnauthenticatedError
from core.ids import make_id
from core.paging import Page, PageRequest, fetch_page
from core.quotas import QuotaName

Scope = Literal["read", "write", "predict", "admin"]
ALL_SCOPES: tuple[str, ...] = get_args(Scope)
DEFAULT_PROJECT = "default"
PREFIX = "bt_"
LAST_USE_SECONDS = 60  # how coarse `last_used_at` is: at most one write a key in so long


class NewKey(NamedTuple):
    """The one moment at which the secret is known."""

    id: str
    secret: str


class Principal(NamedTuple):
    """Who asks: a key of a project."""

    key_id: str
    project_id: str
    scopes: frozenset[str]
    requests_per_second: int | None = None  # the project's quota; None is no limit


def ensure_project(session: Session, name: str = DEFAULT_PROJECT) -> str:
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if project is None:
        project = Project(id=make_id("proj"), name=name)
        session.add(project)
        session.flush()
    return project.id


def get_project_id(session: Session, name: str) -> str:
    project_id = session.scalar(select(Project.id).where(Project.name == name))
    if project_id is None:
        raise NotFoundError(
            "project_not_found",
            f"there is no project '{name}'",
            hint="`bitune keys create --project NAME` makes it",
        )
    return project_id


def create_key(
    session: Session,
    *,
    project_id: str | None,
    name: str,
    scopes: tuple[str, ...],
    expires_at: datetime | None = None,
    expires_in_days: int | None = None,
) -> NewKey:
    """Without a time it is valid until it is revoked."""
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
        secret_sha256=hash_secret(secret),
        scopes=sorted(scopes),
        expires_at=_find_expiry(session, expires_at, expires_in_days),
    )
    session.add(key)
    session.flush()
    return NewKey(id=key.id, secret=secret)


def authenticate(connected: Connected, secret: str, *, requests_per_second: int | None = None) -> Principal:
    """256 random bits need no slow hash: the index on their SHA-256 is the look-up. Nothing is cached.

    `requests_per_second` is that of a project without a quota of its own.
    """
    asked = {"secret_sha256": hash_secret(secret), "requests_per_second": requests_per_second}
    key = connected.execute(_select_key(), asked).one_or_none()
    if key is None:
        raise _unknown_key()
    _refuse_if_over(is_revoked=key.is_revoked, is_expired=key.is_expired)
    if key.was_idle:
        _record_use(connected, key.id)
    return Principal(key.id, key.project_id, frozenset(key.scopes), key.requests_per_second)


def require_valid(session: Session, key_id: str) -> None:
    """For what goes on after its request was admitted."""
    key = session.execute(select(_is_revoked(), _is_expired()).where(Key.id == key_id)).one_or_none()
    if key is None:
        raise _unknown_key()
    is_revoked, is_expired = key
    _refuse_if_over(is_revoked=is_revoked, is_expired=is_expired)


def find_valid(session: Session, key_ids: Iterable[str]) -> set[str]:
    return set(session.scalars(select(Key.id).where(Key.id.in_(key_ids), ~_is_revoked(), ~_is_expired())))


def get_key(session: Session, project_id: str, key_id: str) -> Key:
    key = session.scalars(select(Key).where(Key.project_id == project_id, Key.id == key_id)).one_or_none()
    if key is None:
        raise NotFoundError("key_not_found", "there is no such key", hint="`GET /keys` lists those of the project")
    return key


def list_keys(session: Session, project_id: str, page: PageRequest) -> Page[Key]:
    return fetch_page(session, select(Key).where(Key.project_id == project_id), Key.id, page)


def revoke_key(session: Session, project_id: str, key_id: str) -> None:
    """Takes effect at the next request; revoking twice is fine."""
    key = get_key(session, project_id, key_id)
    key.revoked_at = key.revoked_at or session.scalar(select(func.clock_timestamp()))


def hash_secret(secret: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _unknown_key() -> UnauthenticatedError:
    return UnauthenticatedError("invalid_key", "the API key is unknown", hint="make a new key")


def _refuse_if_over(*, is_revoked: bool, is_expired: bool) -> None:
    if is_revoked:
        raise UnauthenticatedError("key_revoked", "the API key was revoked", hint="make a new key")
    if is_expired:
        raise UnauthenticatedError("key_expired", "the API key has expired", hint="make a new key")


def _is_revoked() -> ColumnElement[bool]:
    return Key.revoked_at.is_not(None)


def _is_expired() -> ColumnElement[bool]:
    return func.coalesce(Key.expires_at <= func.clock_timestamp(), False)


@cache
def _select_key() -> Select[str, str, list[str], bool, bool, bool, int | None]:
    """Made once: every request asks it."""
    own = and_(
        ProjectQuota.project_id == Key.project_id, ProjectQuota.name == literal(QuotaName.REQUESTS_PER_SECOND.value)
    )
    default = bindparam("requests_per_second", type_=BigInteger)
    rate = case((ProjectQuota.project_id.is_(None), default), else_=ProjectQuota.value)
    return (
        select(
            Key.id,
            Key.project_id,
            Key.scopes,
            _is_revoked().label("is_revoked"),
            _is_expired().label("is_expired"),
            _was_idle().label("was_idle"),
            rate.label("requests_per_second"),
        )
        .outerjoin(ProjectQuota, own)
        .where(Key.secret_sha256 == bindparam("secret_sha256"))
    )


def _was_idle() -> ColumnElement[bool]:
    idle_since = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, LAST_USE_SECONDS)
    return func.coalesce(Key.last_used_at < idle_since, True)


def _record_use(connected: Connected, key_id: str) -> None:
    """Of many requests at once one writes, and none waits for it."""
    free = select(Key.id).where(Key.id == key_id, _was_idle()).with_for_update(key_share=True, skip_locked=True)
    connected.execute(
        update(Key).where(Key.id == free.scalar_subquery()).values(last_used_at=func.clock_timestamp()),
        execution_options={"synchronize_session": False},
    )


def _find_expiry(session: Session, expires_at: datetime | None, expires_in_days: int | None) -> datetime | None:
    if expires_at is not None and expires_in_days is not None:
        raise InvalidInputError(
            "ambiguous_expiry", "`expires_at` and `expires_in_days` are both given", hint="give one", param="expires_at"
        )
    if expires_in_days is not None:
        return session.scalar(select(func.clock_timestamp() + func.make_interval(0, 0, 0, expires_in_days)))
    if expires_at is not None and expires_at <= session.scalars(select(func.clock_timestamp())).one():
        raise InvalidInputError(
            "expiry_in_the_past", "`expires_at` has passed", hint="give a time to come", param="expires_at"
        )
    return expires_at

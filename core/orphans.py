"""Finds what the store holds and no row needs: what killed attempts left behind."""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select

from core.db.session import SessionFactory
from core.object_owners import Owner, find_owner, is_being_written, list_unneeded
from core.storage import Storage, UnfinishedUpload
from core.storage_keys import ORPHAN_ROOTS, UPLOAD_ROOTS

MIN_AGE_HOURS = 24.0  # whoever wrote it may still be about to write its row


class Orphan(NamedTuple):
    """What has to go below one prefix."""

    prefix: str
    keys: list[str]
    uploads: list[UnfinishedUpload]
    size_bytes: int


def find_orphans(
    storage: Storage, sessions: SessionFactory, *, min_age_hours: float = MIN_AGE_HOURS
) -> Iterator[Orphan]:
    """Asks the database about a prefix just before it is named, after the store has listed it.

    What it says then stays true: an attempt that has ended never writes a row again, and numbers are not used twice.
    """
    limit = _read_limit(sessions, min_age_hours)
    for root in ORPHAN_ROOTS:
        yield from _find_objects(storage, sessions, root, limit)
    for root in UPLOAD_ROOTS:
        yield from _find_uploads(storage, sessions, root, limit)


def delete_orphan(storage: Storage, orphan: Orphan) -> None:
    """Only what was listed: what came to the prefix since then is younger."""
    storage.delete_keys(orphan.keys)
    for upload in orphan.uploads:
        storage.abort_upload(upload)


def _find_objects(storage: Storage, sessions: SessionFactory, root: str, limit: datetime) -> Iterator[Orphan]:
    for owner, listed in groupby(storage.list_objects(root), key=lambda item: find_owner(item.key)):
        old = [item for item in listed if item.modified_at < limit]
        if owner is None or not old:
            continue
        with sessions() as session:
            unneeded = list_unneeded(session, owner, old)
        if unneeded:
            keys = [item.key for item in unneeded]
            yield Orphan(owner.prefix, keys, uploads=[], size_bytes=sum(item.size_bytes for item in unneeded))


def _find_uploads(storage: Storage, sessions: SessionFactory, root: str, limit: datetime) -> Iterator[Orphan]:
    """Nobody reads an unfinished upload: it is needed only while its attempt runs."""
    for upload in storage.list_uploads(root):
        owner = find_owner(upload.key)
        if upload.started_at < limit and not _is_written(sessions, owner, upload.started_at):
            yield Orphan(upload.key, keys=[], uploads=[upload], size_bytes=0)


def _is_written(sessions: SessionFactory, owner: Owner | None, at: datetime) -> bool:
    if owner is None:
        return False
    with sessions() as session:
        return is_being_written(session, owner, at)


def _read_limit(sessions: SessionFactory, min_age_hours: float) -> datetime:
    """By the database's clock; the store's may differ by less than any age that is sensible."""
    limit: ColumnElement[datetime] = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, min_age_hours * 3600)
    with sessions() as session:
        return session.scalars(select(limit)).one()

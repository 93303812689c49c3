"""Which database a bucket belongs to, since when, and whose turn it is to collect its orphans."""

from datetime import datetime

from sqlalchemy import ColumnElement, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Installation
from core.errors import ConflictError
from core.ids import make_id
from core.storage import Storage
from core.storage_errors import ObjectCorruptError
from core.storage_keys import INSTALLATION_KEY


def claim_bucket(storage: Storage, sessions: SessionFactory) -> datetime:
    """Writes this database's name into the bucket unless it is there; since when it is. Raises when another's is.

    To a wrong or empty database everything in the bucket would look like an orphan.
    """
    with sessions.begin() as session:
        name = _get_name(session)
    try:
        storage.put_once(INSTALLATION_KEY, name.encode())
    except ObjectCorruptError as exc:
        raise ConflictError(
            "foreign_bucket",
            "the bucket belongs to another database",
            hint=f"give each installation a bucket of its own; if it is meant, delete the object '{INSTALLATION_KEY}'",
        ) from exc
    [claim] = (item for item in storage.list_objects(INSTALLATION_KEY) if item.key == INSTALLATION_KEY)
    return claim.modified_at


def require_old_claim(storage: Storage, sessions: SessionFactory, *, min_age_hours: float) -> None:
    """Claims the bucket, and raises when that is news: the database may be the wrong one."""
    claimed_at = claim_bucket(storage, sessions)
    with sessions() as session:
        if session.scalar(select(literal(claimed_at) > _hours_ago(min_age_hours))):
            raise ConflictError(
                "fresh_bucket",
                f"the bucket has belonged to this database for less than {min_age_hours:g} h",
                hint="if BITUNE_DATABASE_URL and BITUNE_S3_BUCKET name the right ones, try again when it is older",
            )


def claim_collection(session: Session, *, claimed_at: datetime, interval_hours: float) -> bool:
    """Whether orphans are due in a bucket claimed at that time; then they are the caller's for one interval."""
    due_before = _hours_ago(interval_hours)
    last = Installation.collection_started_at
    claimed = session.scalar(
        update(Installation)
        .where(literal(claimed_at) < due_before, or_(last.is_(None), last < due_before))
        .values(collection_started_at=func.clock_timestamp())
        .returning(Installation.id)
    )
    return claimed is not None


def record_collection(session: Session) -> None:
    session.execute(update(Installation).values(orphans_collected_at=func.clock_timestamp()))


def _get_name(session: Session) -> str:
    session.execute(insert(Installation).values(name=make_id("inst")).on_conflict_do_nothing())
    return session.scalars(select(Installation.name)).one()


def _hours_ago(hours: float) -> ColumnElement[datetime]:
    now: ColumnElement[datetime] = func.clock_timestamp()
    return now - func.make_interval(0, 0, 0, 0, 0, 0, hours * 3600)

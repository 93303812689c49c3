"""Which database a bucket belongs to, and whose turn it is to collect its orphans."""

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Installation
from core.errors import ConflictError
from core.ids import make_id
from core.storage import Storage
from core.storage_errors import ObjectCorruptError
from core.storage_keys import INSTALLATION_KEY


def claim_bucket(storage: Storage, sessions: SessionFactory) -> None:
    """Writes this database's name into the bucket; raises when another's is there.

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


def claim_collection(session: Session, *, interval_hours: float) -> bool:
    """Whether orphans are due; then they are the caller's for one interval."""
    _get_name(session)
    last = Installation.orphans_collected_at
    rest = func.make_interval(0, 0, 0, 0, 0, 0, interval_hours * 3600)
    claimed = session.scalar(
        update(Installation)
        .where(or_(last.is_(None), last < func.clock_timestamp() - rest))
        .values(orphans_collected_at=func.clock_timestamp())
        .returning(Installation.id)
    )
    return claimed is not None


def _get_name(session: Session) -> str:
    session.execute(insert(Installation).values(name=make_id("inst")).on_conflict_do_nothing())
    return session.scalars(select(Installation.name)).one()

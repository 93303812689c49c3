"""The outbox of prefixes that have to leave the store: written with the row's mark, done by a worker."""

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.db.tables import Deletion


def schedule(session: Session, prefix: str) -> None:
    session.add(Deletion(prefix=prefix))


def take_due(session: Session) -> Deletion | None:
    """One that was not tried in the last minute, marked as tried; those that failed before let the others go first."""
    due = (
        select(Deletion)
        .where(func.coalesce(Deletion.tried_at < func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 1), True))
        .order_by(Deletion.tried_at.nulls_first(), Deletion.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    deletion = session.scalars(due).one_or_none()
    if deletion is not None:
        deletion.tries += 1
        deletion.tried_at = session.scalar(select(func.clock_timestamp()))
    return deletion


def settle(session: Session, deletion_id: int) -> None:
    session.execute(delete(Deletion).where(Deletion.id == deletion_id))

"""The outbox of prefixes that have to leave the store: written with the row's mark, done by the sweeper."""

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from core.db.tables import Deletion


def schedule(session: Session, prefix: str) -> None:
    session.add(Deletion(prefix=prefix))


def take_due(session: Session, *, limit: int = 20) -> list[Deletion]:
    """The oldest deletions not tried in the last minute, marked as tried."""
    due = (
        select(Deletion.id)
        .where(func.coalesce(Deletion.tried_at < func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 1), True))
        .order_by(Deletion.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(
        session.scalars(
            update(Deletion)
            .where(Deletion.id.in_(due))
            .values(tried_at=func.clock_timestamp(), tries=Deletion.tries + 1)
            .returning(Deletion)
        )
    )


def settle(session: Session, deletion_id: int) -> None:
    session.execute(delete(Deletion).where(Deletion.id == deletion_id))

"""The workers that were seen lately: they register, beat and leave."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from core.db.tables import Worker

FORGET_AFTER_DAYS = 1


def register_worker(session: Session, worker: Worker) -> None:
    session.merge(worker)


def beat_worker(session: Session, worker_id: str) -> None:
    session.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=func.clock_timestamp()))


def remove_worker(session: Session, worker_id: str) -> None:
    session.execute(delete(Worker).where(Worker.id == worker_id))


def forget_old_workers(session: Session) -> None:
    session.execute(delete(Worker).where(Worker.heartbeat_at < _ago(days=FORGET_AFTER_DAYS)))


def list_online(session: Session, *, within_seconds: float) -> list[Worker]:
    query = select(Worker).where(Worker.heartbeat_at > _ago(seconds=within_seconds)).order_by(Worker.queue, Worker.id)
    return list(session.scalars(query))


def _ago(*, days: int = 0, seconds: float = 0) -> ColumnElement[datetime]:
    now: ColumnElement[datetime] = func.clock_timestamp()
    return now - func.make_interval(0, 0, 0, days, 0, 0, seconds)

"""The workers that were seen lately: they register, beat and leave."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from core.db.tables import Worker

FORGET_AFTER_DAYS = 1
ONLINE_SECONDS = 30  # since its last beat


def register_worker(session: Session, worker: Worker) -> None:
    session.merge(worker)


def beat_worker(session: Session, worker: Worker, *, storage_errors: int = 0) -> datetime:
    """The database's time of the beat. A worker that was forgotten, as while its host slept, registers again."""
    values = {
        Worker.heartbeat_at: func.clock_timestamp(),
        Worker.storage_errors: storage_errors,
        Worker.gpus: worker.gpus,  # fewer once one is withheld
    }
    beat = update(Worker).where(Worker.id == worker.id).values(values).returning(Worker.id)
    if session.scalar(beat) is None:
        register_worker(session, worker)
    beaten_at: datetime = session.scalars(select(func.clock_timestamp())).one()
    return beaten_at


def record_sweep(session: Session, worker_id: str, *, seconds: float) -> None:
    values = {Worker.swept_at: func.clock_timestamp(), Worker.sweep_seconds: seconds}
    session.execute(update(Worker).where(Worker.id == worker_id).values(values))


def leave(session: Session, worker_id: str) -> None:
    """The row stays for a day: what the worker could run is still known while it is replaced."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(left_at=func.clock_timestamp()))


def forget_old_workers(session: Session) -> None:
    session.execute(delete(Worker).where(Worker.heartbeat_at < _ago(days=FORGET_AFTER_DAYS)))


def list_online(session: Session) -> list[Worker]:
    query = select(Worker).where(Worker.heartbeat_at > _ago(seconds=ONLINE_SECONDS), Worker.left_at.is_(None))
    return list(session.scalars(query.order_by(Worker.queue, Worker.id)))


def find_most_gpus(session: Session, *, queue: str) -> int | None:
    """Of the best worker of the last day, whether online or not; None when there was none."""
    return session.scalar(select(func.max(Worker.gpus)).where(Worker.queue == queue))


def _ago(*, days: int = 0, seconds: float = 0) -> ColumnElement[datetime]:
    now: ColumnElement[datetime] = func.clock_timestamp()
    return now - func.make_interval(0, 0, 0, days, 0, 0, seconds)

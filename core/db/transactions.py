"""Whether a transaction was committed whose answer got lost."""

from sqlalchemy import String, cast, func, select, text
from sqlalchemy.orm import Session


def get_transaction_id(session: Session) -> str:
    return session.scalars(select(cast(func.pg_current_xact_id(), String))).one()


def is_committed(session: Session, transaction_id: str) -> bool:
    asked = text("select pg_xact_status(cast(:transaction_id as xid8))")
    return bool(session.scalar(asked, {"transaction_id": transaction_id}) == "committed")

"""Moments at which the database goes away, by the events of a session factory."""

from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import RunEvent

_TYPES = "event_types"  # in a session's own notes: of the events that it has written


class RefusedCommit:
    """The first commit of a transaction that writes an event of this type does not get through."""

    def __init__(self, sessions: SessionFactory, event_type: str) -> None:
        self._event_type = event_type
        self.happened = False
        event.listen(sessions, "after_flush", self._take_notes)
        event.listen(sessions, "before_commit", self._refuse)

    def _take_notes(self, session: Session, _: object) -> None:
        types = {row.type for row in session.new if isinstance(row, RunEvent)}
        session.info[_TYPES] = session.info.get(_TYPES, set()) | types

    def _refuse(self, session: Session) -> None:
        session.flush()
        if self._event_type in session.info.get(_TYPES, set()) and not self.happened:
            self.happened = True
            raise OperationalError("commit", None, ConnectionError("the server closed the connection"))


class LostAnswer:
    """The next commit gets through, and its answer does not."""

    def __init__(self, sessions: SessionFactory) -> None:
        self.happened = False
        event.listen(sessions, "after_commit", self._lose)

    def _lose(self, _: Session) -> None:
        if not self.happened:
            self.happened = True
            raise OperationalError("commit", None, ConnectionError("the server closed the connection"))

"""The API key of the local stack, kept in its home."""

from sqlalchemy.orm import Session

from cli.home import Home
from core.errors import UnauthenticatedError
from core.keys import ALL_SCOPES, authenticate, create_key

FILE_NAME = "key"


def ensure_local_key(session: Session, home: Home) -> str:
    """The key of the last time while the database knows it, else a new one."""
    path = home.path / FILE_NAME
    if path.exists():
        secret = path.read_text().strip()
        if _is_valid(session, secret):
            return secret
    made = create_key(session, project_id=None, name="local", scopes=ALL_SCOPES)
    home.write_secret(FILE_NAME, made.secret)
    return made.secret


def _is_valid(session: Session, secret: str) -> bool:
    try:
        authenticate(session, secret)
    except UnauthenticatedError:
        return False
    return True

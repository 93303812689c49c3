"""`bitune gc`: what the store holds and no row needs."""

from rich.console import Console
from rich.filesize import decimal

from core.db.session import SessionFactory, make_engine, make_session_factory
from core.installation import require_old_claim
from core.orphans import Orphan, delete_orphan, find_orphans
from core.settings import Settings
from core.storage import Storage


def collect_orphans(settings: Settings, console: Console, *, delete: bool, min_age_hours: float) -> None:
    engine = make_engine(settings.database_url.get_secret_value())
    try:
        _collect(make_session_factory(engine), Storage.from_settings(settings), console, delete, min_age_hours)
    finally:
        engine.dispose()


def _collect(sessions: SessionFactory, storage: Storage, console: Console, delete: bool, min_age_hours: float) -> None:
    if delete:
        require_old_claim(storage, sessions, min_age_hours=min_age_hours)
    objects = uploads = size_bytes = 0
    for orphan in find_orphans(storage, sessions, min_age_hours=min_age_hours):
        if delete:
            delete_orphan(storage, orphan)
        objects += len(orphan.keys)
        uploads += len(orphan.uploads)
        size_bytes += orphan.size_bytes
        console.print(_describe(orphan), highlight=False, soft_wrap=True)
    done = "deleted" if delete else "found; `bitune gc --delete` deletes them"
    total = f"{objects} objects, {decimal(size_bytes)}, {uploads} unfinished uploads {done}"
    console.print(total, highlight=False, soft_wrap=True)


def _describe(orphan: Orphan) -> str:
    if orphan.uploads:
        return f"{orphan.prefix}: an unfinished upload"
    return f"{orphan.prefix}: {len(orphan.keys)} objects, {decimal(orphan.size_bytes)}"

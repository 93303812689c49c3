"""`bitune gc`: what the store holds and no row knows."""

from rich.console import Console
from rich.filesize import decimal

from core.db.session import make_engine, make_session_factory
from core.orphans import find_orphans
from core.settings import Settings
from core.storage import Storage


def collect_orphans(settings: Settings, console: Console, *, delete: bool, min_age_hours: float) -> None:
    engine = make_engine(settings.database_url.get_secret_value())
    storage = Storage.from_settings(settings)
    count = size_bytes = 0
    for orphan in find_orphans(storage, make_session_factory(engine), min_age_hours=min_age_hours):
        count += orphan.objects
        size_bytes += orphan.size_bytes
        console.print(f"{orphan.prefix}: {orphan.objects} objects, {decimal(orphan.size_bytes)}")
        if delete:
            storage.delete_prefix(orphan.prefix)
    engine.dispose()
    done = "deleted" if delete else "found; `bitune gc --delete` deletes them"
    console.print(f"{count} objects, {decimal(size_bytes)} {done}")

"""`bitune migrate`: what the database and the store have to hold before anything else starts."""

from core.db.migrate import upgrade
from core.db.session import make_engine, make_session_factory
from core.installation import claim_bucket
from core.settings import Settings
from core.storage import Storage


def prepare_servers(settings: Settings) -> None:
    """Raises ConflictError when the bucket belongs to another database."""
    database_url = settings.database_url.get_secret_value()
    upgrade(database_url)
    storage = Storage.from_settings(settings)
    storage.ensure_bucket()
    engine = make_engine(database_url, pool_size=1)
    try:
        claim_bucket(storage, make_session_factory(engine))
    finally:
        engine.dispose()

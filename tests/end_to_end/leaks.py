"""Everything that a service leaves where somebody may read it, as texts to look for secrets in."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import redis
from sqlalchemy import make_url, select

from core.db.base import Base
from core.db.session import make_engine, make_session_factory
from core.settings import Settings

Places = Mapping[str, str]


def find_leaks(places: Places, secrets: Iterable[str]) -> set[tuple[str, str]]:
    """The name of the place, and the secret that stands there."""
    return {(name, secret) for secret in secrets for name, text in places.items() if secret in text}


def read_rows(settings: Settings) -> dict[str, str]:
    """By table."""
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=1)
    try:
        with make_session_factory(engine)() as session:
            return {
                f"rows of {table.name}": json.dumps([list(row) for row in session.execute(select(table))], default=str)
                for table in Base.metadata.sorted_tables
            }
    finally:
        engine.dispose()


def read_logs(paths: Iterable[Path]) -> dict[str, str]:
    return {f"log {path.stem}": path.read_text() for path in paths}


def read_broker(settings: Settings) -> dict[str, str]:
    """Its keys with what they hold; only the types that Celery and the limits use have values to show."""
    with redis.Redis.from_url(settings.broker_url.get_secret_value(), decode_responses=True) as broker:
        return {f"broker {key}": key + _read_value(broker, key) for key in broker.scan_iter()}


def _read_value(broker: "redis.Redis", key: str) -> str:
    match broker.type(key):
        case "list":
            return str(broker.lrange(key, 0, -1))
        case "hash":
            return str(broker.hgetall(key))
        case "set":
            return str(broker.smembers(key))
        case "zset":
            return str(broker.zrange(key, 0, -1))
        case _:
            return str(broker.get(key))


def list_passwords(settings: Settings) -> list[str]:
    urls = (settings.database_url.get_secret_value(), settings.broker_url.get_secret_value())
    passwords = [make_url(url).password for url in urls]
    return [*(password for password in passwords if password), settings.s3_secret_access_key.get_secret_value()]

"""What `bitune doctor` asks beside whether each server answers."""

import shutil
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

import redis
from sqlalchemy import func, select, text

from core.backbones import list_backbones
from core.db.session import SessionFactory
from core.health import Check
from core.ids import make_id
from core.settings import Settings
from core.storage import Storage
from core.storage_errors import ObjectCorruptError
from core.storage_keys import doctor_key
from core.workers import list_online

GIB = 1024**3
FEW_BYTES = 1 * GIB
SCARCE_BYTES = 5 * GIB
MAX_CONNECTION_SHARE = 0.8
MAX_SKEW_SECONDS = 60.0


class FindingError(Exception):
    """What is wrong, in words."""


class AdviceError(FindingError):
    """It works, and should be mended all the same."""


def list_server_checks(settings: Settings, sessions: SessionFactory, storage: Storage) -> dict[str, Check]:
    return {
        "conditional writes": partial(check_conditional_writes, storage),
        "broker policy": partial(check_broker_policy, settings.broker_url.get_secret_value()),
        "connections": partial(check_connections, sessions),
        "clock": lambda: check_clock(sessions, datetime.now(UTC)),
    }


def list_service_checks(sessions: SessionFactory) -> dict[str, Check]:
    return {
        "worker (train)": partial(check_worker, sessions, "train"),
        "worker (imports)": partial(check_worker, sessions, "imports"),
        "versions": partial(check_versions, sessions),
        "backbone": partial(check_backbone, sessions),
    }


def list_host_checks(settings: Settings) -> dict[str, Check]:
    return {"disk": partial(check_disk, settings)}


def check_conditional_writes(storage: Storage) -> None:
    storage.check()  # some stores make a bucket that is not there
    key = doctor_key(make_id("doctor"))
    try:
        storage.put_once(key, b"first")
        storage.put_once(key, b"second")
    except ObjectCorruptError:
        return  # as it should be: the second is refused
    finally:
        storage.delete_keys([key])
    raise FindingError("the store overwrites what a conditional write should protect")


def check_broker_policy(broker_url: str) -> None:
    """By INFO, which hosted brokers allow too."""
    with redis.Redis.from_url(broker_url, retry=None, socket_connect_timeout=1, socket_timeout=1) as client:
        memory = client.info("memory")
    policy = memory.get("maxmemory_policy", "noeviction") if isinstance(memory, dict) else "noeviction"
    if policy != "noeviction":
        raise AdviceError(f"the broker evicts keys when its memory is full ({policy})")


def check_connections(sessions: SessionFactory, *, max_share: float = MAX_CONNECTION_SHARE) -> None:
    clients = select(func.count()).select_from(text("pg_stat_activity")).where(text("backend_type = 'client backend'"))
    with sessions() as session:
        used = session.scalar(clients) or 0
        limit = int(session.scalars(select(func.current_setting("max_connections"))).one())
    if used > max_share * limit:
        raise AdviceError(f"{used} of the database's {limit} connections are in use")


def check_clock(sessions: SessionFactory, now: datetime) -> None:
    with sessions() as session:
        database_now: datetime = session.scalars(select(func.clock_timestamp())).one()
    seconds = abs((database_now - now).total_seconds())
    if seconds > MAX_SKEW_SECONDS:
        raise AdviceError(f"the clocks of this host and the database are {seconds:.0f} s apart")


def check_worker(sessions: SessionFactory, queue: str) -> None:
    with sessions() as session:
        if not any(worker.queue == queue for worker in list_online(session)):
            raise FindingError("none is online")


def check_versions(sessions: SessionFactory) -> None:
    own = version("bitune")
    with sessions() as session:
        others = [worker for worker in list_online(session) if worker.code_version != own]
    if others:
        listed = ", ".join(f"{worker.id} on {worker.hostname} has {worker.code_version}" for worker in others)
        raise AdviceError(f"this is version {own}, and {listed}")


def check_backbone(sessions: SessionFactory) -> None:
    with sessions() as session:
        if not list_backbones(session):
            raise FindingError("none is registered")


def check_disk(settings: Settings, *, few_bytes: int = FEW_BYTES, scarce_bytes: int = SCARCE_BYTES) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    said = f"{free / GIB:.1f} GiB are free below {settings.home}"
    if free < few_bytes:
        raise FindingError(said)
    if free < scarce_bytes:
        raise AdviceError(said)

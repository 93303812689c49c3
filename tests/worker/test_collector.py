"""What has to leave the store leaves it, on the real store and database."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import deletions
from core.db.session import SessionFactory
from core.db.tables import Deletion, Installation, Worker
from core.installation import claim_collection
from core.settings import Settings
from core.storage import Storage
from core.storage_keys import INSTALLATION_KEY
from tests.conditions import wait_until
from tests.factories import make_worker
from tests.tarpit import open_tarpit
from tests.worker.contexts import make_context
from worker.collector import Collector
from worker.sweeper import Sweeper

ORPHAN = "jobs/job_x/1/log/1.txt"
A_MOMENT_HOURS = 0.01 / 3600


@pytest.fixture
def collector(settings: Settings, sessions: SessionFactory, storage: Storage, tmp_path: Path) -> Iterator[Collector]:
    storage.delete_keys([INSTALLATION_KEY])
    yield make_collector(settings, sessions, tmp_path, interval_hours=A_MOMENT_HOURS)
    storage.delete_keys([INSTALLATION_KEY])


def make_collector(settings: Settings, sessions: SessionFactory, path: Path, *, interval_hours: float) -> Collector:
    other = settings.model_copy(update={"orphan_interval_hours": interval_hours})
    return Collector(make_context(other, sessions, path), min_age_hours=0)


def make_away(settings: Settings, sessions: SessionFactory, path: Path) -> Collector:
    """A collector whose store refuses everything."""
    away = settings.model_copy(update={"s3_secret_access_key": SecretStr("wrong"), "orphan_interval_hours": 0})
    return Collector(make_context(away, sessions, path))


def schedule(sessions: SessionFactory, storage: Storage, *prefixes: str) -> None:
    with sessions.begin() as session:
        for prefix in prefixes:
            storage.put_bytes(prefix + "a", b"x")
            deletions.schedule(session, prefix)


def list_pending(sessions: SessionFactory) -> list[tuple[str, int]]:
    with sessions() as session:
        return [(row.prefix, row.tries) for row in session.scalars(select(Deletion).order_by(Deletion.id))]


def test_scheduled_prefixes_are_deleted(collector: Collector, sessions: SessionFactory, storage: Storage) -> None:
    prefixes = [f"outbox/{number}/" for number in range(30)]
    schedule(sessions, storage, *prefixes)

    collector.collect()

    assert list(storage.list_keys("outbox/")) == []
    assert list_pending(sessions) == []


def test_deletion_that_failed_is_tried_again_a_minute_later(
    collector: Collector, settings: Settings, sessions: SessionFactory, storage: Storage, tmp_path: Path
) -> None:
    schedule(sessions, storage, "outbox/a/")
    make_away(settings, sessions, tmp_path).collect()
    collector.collect()
    assert list_pending(sessions) == [("outbox/a/", 1)]

    with sessions.begin() as session:
        deletion = session.scalars(select(Deletion)).one()
        assert deletion.tried_at is not None
        deletion.tried_at -= timedelta(minutes=1)
    collector.collect()

    assert list_pending(sessions) == []
    assert list(storage.list_keys("outbox/")) == []


def test_prefix_that_fails_lets_the_others_go_first(session: Session) -> None:
    for prefix in ("a/", "b/", "c/"):
        deletions.schedule(session, prefix)
    failed = deletions.take_due(session)
    assert failed is not None
    assert failed.tried_at is not None
    failed.tried_at -= timedelta(minutes=2)

    taken = [deletions.take_due(session) for _ in range(4)]

    assert [deletion and deletion.prefix for deletion in taken] == ["b/", "c/", "a/", None]


def read_installation(sessions: SessionFactory) -> Installation:
    with sessions() as session:
        return session.scalars(select(Installation)).one()


def collect_until(collector: Collector, condition: Callable[[], bool]) -> None:
    def is_done() -> bool:
        collector.collect()
        return condition()

    wait_until(is_done, seconds=10)


def test_orphans_are_deleted_and_that_is_recorded(
    collector: Collector, sessions: SessionFactory, storage: Storage
) -> None:
    storage.put_bytes(ORPHAN, b"x")

    collect_until(collector, lambda: read_installation(sessions).orphans_collected_at is not None)

    assert list(storage.list_keys("jobs/job_x/")) == []


@pytest.mark.parametrize("interval_hours", [0, 24])
def test_first_round_claims_the_bucket_and_deletes_nothing(
    collector: Collector,
    settings: Settings,
    sessions: SessionFactory,
    storage: Storage,
    tmp_path: Path,
    interval_hours: float,
) -> None:
    """Whoever has named the wrong database has an interval to notice."""
    storage.put_bytes(ORPHAN, b"x")

    make_collector(settings, sessions, tmp_path, interval_hours=interval_hours).collect()

    assert storage.get_bytes(INSTALLATION_KEY).decode() == read_installation(sessions).name
    assert list(storage.list_keys("jobs/job_x/")) == [ORPHAN]


def test_collection_is_one_workers_for_an_interval(session: Session) -> None:
    session.add(Installation(name="inst_a"))
    session.flush()
    long_ago = datetime.now(UTC) - timedelta(days=2)

    assert claim_collection(session, claimed_at=long_ago, interval_hours=24)
    assert not claim_collection(session, claimed_at=long_ago, interval_hours=24)

    session.get_one(Installation, 1, populate_existing=True).collection_started_at = long_ago
    assert claim_collection(session, claimed_at=long_ago, interval_hours=24)


def test_orphans_of_another_database_are_left_alone(
    collector: Collector, sessions: SessionFactory, storage: Storage
) -> None:
    storage.put_bytes(ORPHAN, b"x")
    storage.put_bytes(INSTALLATION_KEY, b"inst_other")

    collector.collect()
    collector.collect()

    assert list(storage.list_keys("jobs/job_x/")) == [ORPHAN]
    assert read_installation(sessions).orphans_collected_at is None


def test_bucket_that_got_another_owner_is_left_alone(
    collector: Collector, sessions: SessionFactory, storage: Storage
) -> None:
    collector.collect()
    before = read_installation(sessions)
    storage.put_bytes(ORPHAN, b"x")
    storage.put_bytes(INSTALLATION_KEY, b"inst_other")

    collect_until(collector, lambda: read_installation(sessions).collection_started_at != before.collection_started_at)

    assert list(storage.list_keys("jobs/job_x/")) == [ORPHAN]
    assert read_installation(sessions).orphans_collected_at == before.orphans_collected_at


def test_store_that_is_away_at_the_start_is_claimed_later(
    collector: Collector, settings: Settings, sessions: SessionFactory, storage: Storage, tmp_path: Path
) -> None:
    make_away(settings, sessions, tmp_path).collect()
    assert list(storage.list_keys(INSTALLATION_KEY)) == []

    collector.collect()

    assert list(storage.list_keys(INSTALLATION_KEY)) == [INSTALLATION_KEY]


def test_sweep_goes_on_while_the_store_hangs(settings: Settings, sessions: SessionFactory, tmp_path: Path) -> None:
    with sessions.begin() as session:
        worker_id = make_worker(session).id
        deletions.schedule(session, "outbox/a/")

    def read_sweep() -> datetime | None:
        with sessions() as session:
            return session.get_one(Worker, worker_id).swept_at

    with open_tarpit() as port:
        hanging = settings.model_copy(
            update={"sweep_seconds": 0.05, "s3_endpoint_url": f"http://127.0.0.1:{port}", "orphan_interval_hours": 0}
        )
        context = make_context(hanging, sessions, tmp_path, worker_id=worker_id)
        sweeper, collector = Sweeper(context), Collector(context)
        collector.start()
        wait_until(lambda: list_pending(sessions) == [("outbox/a/", 1)], seconds=10)
        sweeper.start()
        wait_until(lambda: read_sweep() is not None, seconds=10)
        first = read_sweep()
        wait_until(lambda: read_sweep() != first, seconds=10)
        sweeper.close()
    collector.close()
    assert list_pending(sessions) == [("outbox/a/", 1)]


def test_thread_collects_by_itself_and_ends(
    settings: Settings, sessions: SessionFactory, storage: Storage, tmp_path: Path
) -> None:
    often = settings.model_copy(update={"sweep_seconds": 0.05, "orphan_interval_hours": 0})
    schedule(sessions, storage, "outbox/a/")
    collector = Collector(make_context(often, sessions, tmp_path))

    collector.start()
    wait_until(lambda: list_pending(sessions) == [], seconds=10)
    collector.close()

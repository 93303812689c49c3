import json
from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect, text

from core.db.base import Base
from core.db.migrate import downgrade, is_current, make_config, upgrade
from core.settings import Settings

EMPTY = "migration_test"


@pytest.fixture
def empty_database(settings: Settings) -> Iterator[str]:
    """A database of its own beside the one that the other tests use."""
    url = settings.database_url.get_secret_value()
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"drop database if exists {EMPTY} with (force)"))
        connection.execute(text(f"create database {EMPTY}"))
    yield url.rsplit("/", 1)[0] + f"/{EMPTY}"
    with admin.connect() as connection:
        connection.execute(text(f"drop database {EMPTY} with (force)"))
    admin.dispose()


def list_tables(url: str) -> set[str]:
    engine = create_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def test_migrations_make_the_tables_of_the_code(empty_database: str) -> None:
    upgrade(empty_database)

    command.check(make_config(empty_database))  # raises when tables.py says something else
    assert list_tables(empty_database) == {table.name for table in Base.metadata.sorted_tables} | {"alembic_version"}


def test_migrations_go_down_and_up_again(empty_database: str) -> None:
    upgrade(empty_database)
    downgrade(empty_database, "base")
    assert list_tables(empty_database) == {"alembic_version"}

    upgrade(empty_database)

    command.check(make_config(empty_database))


def test_waiting_job_keeps_the_defaults_of_when_it_was_posted(empty_database: str) -> None:
    command.upgrade(make_config(empty_database), "0006")
    specs: dict[str, dict[str, object]] = {
        "job_waiting": {"training": {"epochs": 3}, "method": {"temperature": 0.07}},
        "job_resolved": {"training": {"epochs": 4}},
    }
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text("set session_replication_role = replica"))  # jobs without their projects and runs
        for job_id, spec in specs.items():
            resolved = json.dumps(spec) if job_id == "job_resolved" else None
            connection.execute(
                text(
                    "insert into jobs (id, project_id, run_id, dataset_id, spec, resolved_spec) "
                    "values (:id, 'project', 'run', 'dataset', cast(:spec as jsonb), cast(:resolved as jsonb))"
                ),
                {"id": job_id, "spec": json.dumps(spec), "resolved": resolved},
            )

    upgrade(empty_database)

    with engine.begin() as connection:
        after = {row.id: row.spec for row in connection.execute(text("select id, spec from jobs"))}
    engine.dispose()
    of_then = {"epochs": 3, "batch_norm": "batch", "min_crop_area": 0.2}
    assert after == {**specs, "job_waiting": {**specs["job_waiting"], "training": of_then}}


def test_old_database_is_noticed(empty_database: str) -> None:
    engine = create_engine(empty_database)
    assert not is_current(engine)

    upgrade(empty_database)

    assert is_current(engine)
    engine.dispose()

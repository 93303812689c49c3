import json
from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, inspect, text

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


OF_THEN = {"batch_norm": "batch", "min_crop_area": 0.2}


def insert_job(connection: Connection, job_id: str, spec: object, resolved_spec: object = None) -> None:
    """Without the project, the run and the dataset that it belongs to."""
    resolved = None if resolved_spec is None else json.dumps(resolved_spec)
    connection.execute(text("set session_replication_role = replica"))
    connection.execute(
        text(
            "insert into jobs (id, project_id, run_id, dataset_id, spec, resolved_spec) "
            "values (:id, 'project', 'run', 'dataset', cast(:spec as jsonb), cast(:resolved as jsonb))"
        ),
        {"id": job_id, "spec": json.dumps(spec), "resolved": resolved},
    )


def test_jobs_of_before_keep_the_defaults_of_then(empty_database: str) -> None:
    asked, resolved = {"training": {"epochs": "auto"}}, {"training": {"epochs": 4}}
    command.upgrade(make_config(empty_database), "0006")
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        insert_job(connection, "job_resolved", asked, resolved)
        insert_job(connection, "job_waiting", asked)

    upgrade(empty_database)

    with engine.connect() as connection:
        rows = connection.execute(text("select spec, resolved_spec from jobs order by id")).all()
    engine.dispose()
    assert rows == [
        (asked, {"training": {"epochs": 4, **OF_THEN}}),
        ({"training": {"epochs": "auto", **OF_THEN}}, None),
    ]


def test_downgraded_jobs_have_no_field_that_was_unknown(empty_database: str) -> None:
    upgrade(empty_database)
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        insert_job(connection, "job", {"method": {"temperature": "auto"}, "training": {"epochs": 3, **OF_THEN}})

    downgrade(empty_database, "0006")

    with engine.connect() as connection:
        spec = connection.execute(text("select spec from jobs")).scalar_one()
    engine.dispose()
    assert spec == {"method": {"temperature": 0.07}, "training": {"epochs": 3}}


def test_old_database_is_noticed(empty_database: str) -> None:
    engine = create_engine(empty_database)
    assert not is_current(engine)

    upgrade(empty_database)

    assert is_current(engine)
    engine.dispose()

"""Fills the tables by the hundred thousand, as jobs and their ends would."""

from sqlalchemy import Connection, text

from core.db.base import Base
from core.db.tables import Run

_EMPTY = "truncate {tables} restart identity cascade"
_PROJECTS = """
    insert into projects (id, name) select 'proj_' || n, 'project ' || n from generate_series(0, :projects - 1) n;
    insert into runs (id, project_id, kind, queue, status, attempt, event_seq, started_at, finished_at)
        select 'run_0_' || id, id, 'import', 'imports', 'succeeded', 1, 3, now(), now() from projects;
    insert into uploads (id, project_id, filename, storage_key) select 'up_' || id, id, 'a.zip', 'uploads/' || id
        from projects;
    insert into datasets (id, project_id, run_id, upload_id, name, test_fraction, attempt)
        select 'ds_' || id, id, 'run_0_' || id, 'up_' || id, 'cells', 0.2, 1 from projects;
"""
_JOBS = """
    insert into jobs (id, project_id, run_id, dataset_id, spec)
        select 'job' || substr(id, 4), project_id, id, 'ds_' || project_id, '{"seed": 0}'::jsonb
        from runs where kind = 'train' and status = :status;
    insert into run_events (run_id, seq, type, level, message)
        select id, seq, 'queued', 'info', 'waits for a worker'
        from runs, generate_series(1, event_seq) seq where kind = 'train' and status = :status;
"""
_QUEUED = """
    insert into runs (id, project_id, kind, queue, status, event_seq, waits_for_run_id, queued_at)
        select 'run_2_' || lpad(n::text, 9, '0'), 'proj_' || n % :projects, 'train', 'train', 'queued', 1,
               'run_0_proj_' || n % :projects, now()
        from generate_series(1, :count) n;
"""
_FINISHED = """
    insert into runs (id, project_id, kind, queue, status, attempt, event_seq, waits_for_run_id, started_at,
                      finished_at)
        select 'run_1_' || lpad(n::text, 9, '0'), 'proj_' || n % :projects, 'train', 'train', 'succeeded', 1, 3,
               'run_0_proj_' || n % :projects, now(), now()
        from generate_series(1, :count) n;
    insert into attempts (run_id, number, worker_id, ended_at, outcome)
        select id, 1, 'worker', now(), 'succeeded' from runs where kind = 'train' and status = 'succeeded';
"""


def fill(connection: Connection, *, projects: int, queued: int, finished: int) -> None:
    """Replaces everything; statistics are then as autovacuum would have left them. Needs autocommit."""
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    connection.execute(text(_EMPTY.format(tables=names)))
    _execute(connection, _PROJECTS, projects=projects)
    _execute(connection, _FINISHED, projects=projects, count=finished)
    _execute(connection, _JOBS, status="succeeded")
    _execute(connection, _QUEUED, projects=projects, count=queued)
    _execute(connection, _JOBS, status="queued")
    connection.execute(text("vacuum analyze"))
    connection.execute(text("checkpoint"))


def count_unfinished(connection: Connection) -> int:
    statement = text(f"select count(*) from {Run.__tablename__} where status <> 'succeeded'")  # noqa: S608 - a constant
    return int(connection.execute(statement).scalar_one())


def _execute(connection: Connection, script: str, **values: object) -> None:
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(text(statement), values)

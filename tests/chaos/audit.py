"""The database's own record of what happened to runs: triggers that no code of ours can pass by."""

from sqlalchemy import Connection, text

from tests.chaos.history import Change, Write

_INSTALL = """
create table chaos_changes (
    id bigint generated always as identity primary key, at timestamptz not null default clock_timestamp(),
    run_id text not null, status text not null, attempt int not null, worker_id text);
create table chaos_writes (
    id bigint generated always as identity primary key, at timestamptz not null default clock_timestamp(),
    run_id text not null, written text not null, attempt int not null, holder int not null, run_status text not null,
    step int);

create function chaos_note_change() returns trigger language plpgsql as $$
begin
    insert into chaos_changes (run_id, status, attempt, worker_id)
    values (new.id, new.status, new.attempt, new.worker_id);
    return new;
end $$;
create trigger chaos_created after insert on runs for each row execute function chaos_note_change();
create trigger chaos_changed after update on runs for each row
    when (old.status is distinct from new.status or old.attempt is distinct from new.attempt
        or old.worker_id is distinct from new.worker_id)
    execute function chaos_note_change();

create function chaos_note_write() returns trigger language plpgsql as $$
begin
    insert into chaos_writes (run_id, written, attempt, holder, run_status, step)
    select runs.id, tg_table_name, new.attempt, runs.attempt, runs.status, (to_jsonb(new)->>'step')::int
    from jobs join runs on runs.id = jobs.run_id where jobs.id = new.job_id;
    return new;
end $$;
create trigger chaos_checkpoint after insert on checkpoints for each row execute function chaos_note_write();
create function chaos_note_progress() returns trigger language plpgsql as $$
begin
    insert into chaos_writes (run_id, written, attempt, holder, run_status)
    select runs.id, tg_table_name, new.number, runs.attempt, runs.status from runs where runs.id = new.run_id;
    return new;
end $$;
create trigger chaos_progress after update on attempts for each row
    when (old.resumed_from_step is distinct from new.resumed_from_step
        or old.metric_segments is distinct from new.metric_segments
        or old.log_segments is distinct from new.log_segments)
    execute function chaos_note_progress();
create trigger chaos_model after insert on models for each row execute function chaos_note_write();
"""


def install_audit(connection: Connection) -> None:
    connection.execute(text(_INSTALL))


def read_changes(connection: Connection) -> list[Change]:
    rows = connection.execute(
        text("select extract(epoch from at), run_id, status, attempt, worker_id from chaos_changes order by id")
    )
    return [Change(float(at), run_id, status, attempt, worker) for at, run_id, status, attempt, worker in rows]


def read_writes(connection: Connection) -> list[Write]:
    rows = connection.execute(
        text(
            "select extract(epoch from at), run_id, written, attempt, holder, run_status, step"
            " from chaos_writes order by id"
        )
    )
    return [Write(float(at), *rest) for at, *rest in rows]

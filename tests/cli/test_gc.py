"""`bitune gc` on the real store and database; what counts as an orphan is tested in tests/core/test_orphans.py."""

from collections.abc import Iterator

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.environment import make_environment
from cli.gc import collect_orphans
from cli.main import app
from core.db.session import SessionFactory
from core.errors import ConflictError
from core.settings import Settings
from core.storage import Storage
from core.storage_keys import INSTALLATION_KEY

ORPHAN = "jobs/job_x/1/log/1.txt"


@pytest.fixture
def gc_settings(settings: Settings, sessions: SessionFactory) -> Settings:
    """With a bucket for these tests alone: whatever is in the usual one would be an orphan too."""
    return settings.model_copy(update={"s3_bucket": "orphans"})


@pytest.fixture(autouse=True)
def storage(gc_settings: Settings) -> Iterator[Storage]:
    """It holds one orphan."""
    storage = Storage.from_settings(gc_settings)
    storage.ensure_bucket()
    storage.put_bytes(ORPHAN, b"x" * 2000)
    yield storage
    storage.delete_keys([ORPHAN, INSTALLATION_KEY])


def collect(settings: Settings, *, delete: bool) -> str:
    """At once, which the command itself refuses."""
    console = Console()
    with console.capture() as capture:
        collect_orphans(settings, console, delete=delete, min_age_hours=0)
    return capture.get()


def run(settings: Settings, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["gc", *arguments], env=make_environment(settings), catch_exceptions=False)
    return result.exit_code, result.output


def test_dry_run_names_and_deletes_nothing(gc_settings: Settings, storage: Storage) -> None:
    said = collect(gc_settings, delete=False)

    assert "jobs/job_x/1/log/: 1 objects, 2.0 kB" in said
    assert "`bitune gc --delete` deletes them" in said
    assert storage.exists(ORPHAN)
    assert not storage.exists(INSTALLATION_KEY)


def test_asked_to_it_deletes(gc_settings: Settings, storage: Storage) -> None:
    said = collect(gc_settings, delete=True)

    assert "jobs/job_x/1/log/: 1 objects, 2.0 kB" in said
    assert said.endswith("0 unfinished uploads deleted\n")

    assert not storage.exists(ORPHAN)


def test_bucket_of_another_database_is_left_alone(gc_settings: Settings, storage: Storage) -> None:
    storage.put_bytes(INSTALLATION_KEY, b"inst_other")

    with pytest.raises(ConflictError):
        collect(gc_settings, delete=True)

    assert storage.exists(ORPHAN)


def test_command_leaves_young_objects_alone(gc_settings: Settings) -> None:
    status, said = run(gc_settings, "--min-age-hours", "1")

    assert status == 0
    assert "0 objects" in said


def test_bucket_that_was_just_claimed_is_left_alone(gc_settings: Settings, storage: Storage) -> None:
    status, said = run(gc_settings, "--delete", "--min-age-hours", "1")

    assert status == 1
    assert "less than 1 h" in said
    assert storage.exists(ORPHAN)


def test_ages_below_an_hour_are_refused(gc_settings: Settings) -> None:
    status, said = run(gc_settings, "--min-age-hours", "0.5")

    assert status == 2
    assert "--min-age-hours" in said

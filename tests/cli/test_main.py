"""The commands, on the real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from cli.environment import make_environment
from cli.main import app
from core.db.session import SessionFactory
from core.keys import authenticate
from core.settings import Settings
from core.storage import Storage
from core.storage_keys import INSTALLATION_KEY
from tests.factories import make_backbone


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return make_environment(settings)


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)


def test_key_that_was_made_is_known(environment: dict[str, str], session: Session) -> None:
    result = run(environment, "keys", "create", "--name", "ci", "--scopes", "read, predict")
    assert authenticate(session, result.stdout.strip()).scopes == {"read", "predict"}


def test_unknown_scope_is_said_in_a_sentence(environment: dict[str, str]) -> None:
    result = run(environment, "keys", "create", "--name", "ci", "--scopes", "everything")
    assert result.exit_code == 1
    assert "no such scope: everything" in result.stderr


@pytest.fixture
def unclaimed_bucket(storage: Storage, sessions: SessionFactory) -> Iterator[Storage]:
    storage.delete_keys([INSTALLATION_KEY])
    yield storage
    storage.delete_keys([INSTALLATION_KEY])


def test_migrating_twice_is_fine_and_claims_the_bucket(environment: dict[str, str], unclaimed_bucket: Storage) -> None:
    assert run(environment, "migrate").exit_code == 0
    assert run(environment, "migrate").exit_code == 0
    assert unclaimed_bucket.get_bytes(INSTALLATION_KEY).startswith(b"inst_")


def test_migrating_beside_the_bucket_of_another_database_is_refused(
    environment: dict[str, str], unclaimed_bucket: Storage
) -> None:
    unclaimed_bucket.put_bytes(INSTALLATION_KEY, b"inst_other")

    result = run(environment, "migrate")

    assert result.exit_code == 1
    assert "belongs to another database" in result.stderr


def test_registered_backbones_are_listed(environment: dict[str, str], session: Session) -> None:
    make_backbone(session, "tiny")
    session.commit()
    assert "tiny" in run(environment, "backbones", "list").stdout


def test_backbone_without_a_source_is_refused(environment: dict[str, str]) -> None:
    result = run(environment, "backbones", "add", "resnet18")
    assert "--from FILE or --from-hub" in result.stderr


def test_missing_settings_are_named(tmp_path: Path) -> None:
    result = run({"BITUNE_HOME": str(tmp_path)}, "keys", "create", "--name", "ci")
    assert "BITUNE_DATABASE_URL" in result.stderr

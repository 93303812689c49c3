"""The commands, on the real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from cli.commands import API_SPINS, make_api_environment
from cli.environment import make_environment
from cli.main import app
from core.db.session import SessionFactory
from core.errors import UnauthenticatedError
from core.keys import authenticate, ensure_project
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


def test_keys_are_listed_and_revoked(environment: dict[str, str], session: Session) -> None:
    secret = run(environment, "keys", "create", "--name", "ci", "--expires-in-days", "30").stdout.strip()
    key_id = authenticate(session, secret).key_id
    session.commit()
    wide = environment | {"COLUMNS": "200"}
    assert key_id in run(wide, "keys", "list").stdout

    assert run(environment, "keys", "revoke", key_id).exit_code == 0

    with pytest.raises(UnauthenticatedError, match="revoked"):
        authenticate(session, secret)
    assert "revoked" in run(wide, "keys", "list").stdout


def test_quota_is_set_shown_and_reset(environment: dict[str, str], session: Session) -> None:
    def show() -> list[list[str]]:
        return [line.split() for line in run(environment, "quotas", "show").stdout.splitlines() if "datasets" in line]

    ensure_project(session)
    session.commit()
    run(environment, "quotas", "set", "datasets", "7")
    assert show() == [["│", "datasets", "│", "7", "│", "0", "│", "1000", "│"]]

    run(environment, "quotas", "set", "datasets", "none")
    assert show()[0][3] == "none"

    run(environment, "quotas", "set", "datasets", "default")
    assert show()[0][3] == "1000"


def test_wrong_quota_is_said_in_a_sentence(environment: dict[str, str], session: Session) -> None:
    ensure_project(session)
    session.commit()
    assert "neither a number" in run(environment, "quotas", "set", "datasets", "many").stderr
    assert "no project 'x'" in run(environment, "quotas", "show", "--project", "x").stderr


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


def test_threads_of_the_api_spin_briefly_unless_the_operator_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert make_api_environment({"A": "b"}) == {**API_SPINS, "A": "b"}

    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert make_api_environment({"A": "b"}) == {"GOMP_SPINCOUNT": "7", "A": "b"}

"""The commands, on the real servers."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from cli.environment import make_environment
from cli.main import app
from core.keys import authenticate
from core.settings import Settings
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


def test_migrating_twice_is_fine(environment: dict[str, str]) -> None:
    assert run(environment, "migrate").exit_code == 0


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

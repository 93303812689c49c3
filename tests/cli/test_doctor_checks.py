"""Every finding on the real servers, each beside a control that finds nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
import redis
from pydantic import SecretStr
from rich.console import Console
from sqlalchemy import make_url
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from cli.doctor import diagnose
from cli.doctor_checks import (
    AdviceError,
    FindingError,
    check_backbone,
    check_broker_policy,
    check_clock,
    check_conditional_writes,
    check_connections,
    check_disk,
    check_versions,
    check_worker,
)
from cli.environment import make_environment
from cli.main import app
from core.db.session import SessionFactory
from core.settings import Settings
from core.storage import Storage
from tests.factories import make_backbone, make_worker
from tests.http_servers import serve_http


def run_doctor(settings: Settings) -> tuple[bool, str]:
    console = Console()
    with console.capture() as capture:
        is_well = diagnose(settings, console)
    return is_well, capture.get()


def replace_password(url: SecretStr) -> SecretStr:
    return SecretStr(make_url(url.get_secret_value()).set(password="a-wr0ng/one").render_as_string(hide_password=False))


@pytest.fixture
def whole_service(session: Session) -> None:
    make_backbone(session)
    for queue in ("train", "imports"):
        make_worker(session, queue=queue).code_version = version("bitune")
    session.commit()


@pytest.fixture
def evicting_broker(settings: Settings) -> Iterator[str]:
    url = settings.broker_url.get_secret_value()
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield url
        client.config_set("maxmemory-policy", "noeviction")


def test_whole_service_is_well(settings: Settings, whole_service: None) -> None:
    is_well, said = run_doctor(settings)

    assert is_well, said
    assert "failed" not in said


def test_warnings_alone_are_no_failure(settings: Settings, whole_service: None, evicting_broker: str) -> None:
    is_well, said = run_doctor(settings)

    assert is_well, said
    assert "warn   broker policy: the broker evicts keys when its memory is full (allkeys-lru); set `maxmemory" in said


def test_command_exits_with_1_when_something_failed(settings: Settings, sessions: SessionFactory) -> None:
    result = CliRunner().invoke(app, ["doctor"], env=make_environment(settings))

    assert result.exit_code == 1
    assert "failed backbone: none is registered; add one: `bitune backbones add`" in result.output


def test_wrong_password_of_the_database_is_said_and_not_shown(settings: Settings) -> None:
    wrong = settings.model_copy(update={"database_url": replace_password(settings.database_url)})

    is_well, said = run_doctor(wrong)

    assert not is_well
    assert 'password authentication failed for user "bitune"' in said
    assert "failed clock: not known without the database" in said
    assert "wr0ng" not in said


def test_wrong_password_of_the_broker_is_said_and_not_shown(settings: Settings) -> None:
    wrong = settings.model_copy(update={"broker_url": replace_password(settings.broker_url)})

    is_well, said = run_doctor(wrong)

    assert not is_well
    assert "failed broker: invalid username-password pair" in said
    assert "ok     database" in said
    assert "wr0ng" not in said


def test_wrong_secret_of_the_store_is_said_and_not_shown(settings: Settings) -> None:
    is_well, said = run_doctor(settings.model_copy(update={"s3_secret_access_key": SecretStr("a-wr0ng-one")}))

    assert not is_well
    assert "failed storage: the object store refused the request (403)" in said
    assert "wr0ng" not in said


def test_missing_bucket_is_said(settings: Settings) -> None:
    _, said = run_doctor(settings.model_copy(update={"s3_bucket": "nowhere"}))

    assert "failed storage: nowhere is not in the store" in said
    assert "`bitune migrate` makes the bucket" in said


def test_store_without_conditional_writes_is_found(settings: Settings, storage: Storage) -> None:
    check_conditional_writes(storage)
    assert list(storage.list_keys("doctor/")) == []

    with serve_http() as url:
        lax = Storage.from_settings(settings.model_copy(update={"s3_endpoint_url": url}))
        with pytest.raises(FindingError, match="overwrites"):
            check_conditional_writes(lax)


def test_broker_that_evicts_is_found(settings: Settings, evicting_broker: str) -> None:
    with pytest.raises(AdviceError, match="allkeys-lru"):
        check_broker_policy(evicting_broker)


def test_broker_that_does_not_evict_is_fine(settings: Settings) -> None:
    check_broker_policy(settings.broker_url.get_secret_value())


def test_connections_are_found_when_few_are_left(sessions: SessionFactory) -> None:
    check_connections(sessions)

    with pytest.raises(AdviceError, match=r"\d of the database's 200 connections are in use"):
        check_connections(sessions, max_share=0.001)


def test_clocks_that_are_apart_are_found(sessions: SessionFactory) -> None:
    check_clock(sessions, datetime.now(UTC))

    with pytest.raises(AdviceError, match=r"9\d s apart"):
        check_clock(sessions, datetime.now(UTC) - timedelta(seconds=95))


@pytest.mark.parametrize(("queue", "other"), [("train", "imports"), ("imports", "train")])
def test_queue_without_a_worker_is_found(session: Session, sessions: SessionFactory, queue: str, other: str) -> None:
    make_worker(session, queue=queue)
    session.commit()
    check_worker(sessions, queue)

    with pytest.raises(FindingError, match="none is online"):
        check_worker(sessions, other)


def test_worker_of_another_version_is_found(session: Session, sessions: SessionFactory) -> None:
    worker = make_worker(session)
    worker.code_version = version("bitune")
    session.commit()
    check_versions(sessions)

    worker.code_version = "0.0.1"
    session.commit()

    with pytest.raises(AdviceError, match=rf"{worker.id} on host has 0\.0\.1"):
        check_versions(sessions)


def test_service_without_a_backbone_is_found(session: Session, sessions: SessionFactory) -> None:
    with pytest.raises(FindingError, match="none is registered"):
        check_backbone(sessions)

    make_backbone(session)
    session.commit()

    check_backbone(sessions)


def test_disk_that_gets_full_is_advice_before_it_is_a_failure(settings: Settings) -> None:
    check_disk(settings, few_bytes=0, scarce_bytes=0)

    with pytest.raises(AdviceError, match="GiB are free"):
        check_disk(settings, few_bytes=0, scarce_bytes=1 << 60)
    with pytest.raises(FindingError, match="GiB are free") as failure:
        check_disk(settings, few_bytes=1 << 60, scarce_bytes=1 << 60)
    assert not isinstance(failure.value, AdviceError)

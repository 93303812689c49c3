import socket
import threading
import time
from collections.abc import Callable

import httpcore
import pytest
from pydantic import SecretStr

from core.ingest.connections import GuardedBackend, Network, make_network
from core.ingest.errors import FetchError
from core.ingest.url_policy import OwnServer, UrlPolicy
from core.ingest.watch import Watch
from core.settings import Settings
from tests.abuse.internet import Internet

STRANGER = UrlPolicy()
SYSTEM = make_network(STRANGER)
PUBLIC = "93.184.215.14"
CONNECT_SECONDS = 0.3


def connect(host: str, port: int, policy: UrlPolicy, network: Network) -> FetchError:
    backend = GuardedBackend(policy, Watch(policy, lambda: False), network)
    with pytest.raises(FetchError) as error:
        backend.connect_tcp(host, port, timeout=CONNECT_SECONDS)
    return error.value


class Filter(httpcore.NetworkBackend):
    """Swallows every packet."""

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: object) -> httpcore.NetworkStream:
        threading.Event().wait(timeout)
        raise httpcore.ConnectTimeout(f"{host}:{port}")


def look_up_public(_: str) -> list[str]:
    return [PUBLIC]


def fail_to_look_up(_: str) -> list[str]:
    raise OSError("no such name")


def look_up_slowly(_: str) -> list[str]:
    threading.Event().wait(2 * CONNECT_SECONDS)
    return [PUBLIC]


OBSTACLES: dict[str, Callable[[], Network]] = {
    "filtered": lambda: Network(SYSTEM.ssl_context, look_up_public, Filter()),
    "closed": lambda: Network(SYSTEM.ssl_context, look_up_public, Internet({}, {})),
    "unknown name": lambda: Network(SYSTEM.ssl_context, fail_to_look_up),
    "inner name": lambda: Network(SYSTEM.ssl_context, lambda _: ["10.0.0.1"]),
    "silent resolver": lambda: Network(SYSTEM.ssl_context, look_up_slowly),
}


@pytest.mark.parametrize("make", OBSTACLES.values(), ids=OBSTACLES.keys())
def test_whatever_stands_in_the_way_looks_the_same(make: Callable[[], Network]) -> None:
    began_at = time.monotonic()

    error = connect("files.example", 443, STRANGER, make())

    assert (error.code, error.message) == ("url_unreachable", "the server of the URL cannot be reached")
    assert time.monotonic() - began_at >= CONNECT_SECONDS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433"])
def test_inner_host_gets_no_packet(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connect(host, listener.getsockname()[1], STRANGER, SYSTEM)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_name_is_looked_up_once_and_absolute() -> None:
    asked: list[str] = []

    def look_up(name: str) -> list[str]:
        asked.append(name)
        return []

    connect("files.example", 443, STRANGER, Network(SYSTEM.ssl_context, look_up))

    assert asked == ["files.example."]


def test_broker_is_not_fetched_from_though_its_host_is_listed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listed = UrlPolicy(allowed_hosts=("127.0.0.1",), own_servers=(OwnServer(host="localhost", port=port),))

        assert connect("127.0.0.1", port, listed, SYSTEM).code == "url_unreachable"


def test_store_is_fetched_from_when_its_host_is_listed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        own = OwnServer(host="127.0.0.1", port=port, may_be_listed=True)
        listed = UrlPolicy(allowed_hosts=("127.0.0.1",), own_servers=(own,))
        backend = GuardedBackend(listed, Watch(listed, lambda: False), SYSTEM)

        backend.connect_tcp("127.0.0.1", port, timeout=5.0).close()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BITUNE_URL_EXTRA_PORTS", "8443, 8080")
    return Settings(
        database_url=SecretStr("postgresql+psycopg://bitune:secret@db.example/bitune"),
        broker_url=SecretStr("redis://:secret@broker.example:6380/0"),
        s3_endpoint_url="https://s3.example",
        s3_access_key_id=SecretStr("id"),
        s3_secret_access_key=SecretStr("secret"),
        predict_url_seconds=4.0,
    )


def test_own_servers_are_known_from_the_settings(settings: Settings) -> None:
    policy = UrlPolicy.from_settings(settings)

    assert policy.extra_ports == (8443, 8080)
    assert [(server.host, server.port, server.may_be_listed) for server in policy.own_servers] == [
        ("db.example", 5432, False),
        ("broker.example", 6380, False),
        ("s3.example", 443, True),
    ]


def test_pictures_have_less_time_than_datasets(settings: Settings) -> None:
    pictures, datasets = UrlPolicy.for_pictures(settings), UrlPolicy.from_settings(settings)

    assert (pictures.connect_seconds, pictures.first_byte_seconds, pictures.total_seconds) == (2.0, 4.0, 4.0)
    assert pictures.idle_seconds < datasets.idle_seconds
    assert pictures.own_servers == datasets.own_servers

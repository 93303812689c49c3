import socket
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError


def test_vanished_host_is_noticed(engine: Engine) -> None:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection  # psycopg's, which SQLAlchemy does not type
        with socket.socket(fileno=driver.fileno()) as sock:
            options = [
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            ]
            sock.detach()

    assert options == [1, 4, 10_000]


def test_error_of_a_statement_does_not_show_its_values(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DataError) as caught:
        connection.execute(text("select length(:secret) / 0"), {"secret": "canary"})

    assert "canary" not in str(caught.value)

import time

import pytest
import redis
from kombu.exceptions import OperationalError
from sqlalchemy.orm import Session

from core.dispatch import Dispatcher, hint_after_commit
from core.settings import Settings
from tests.tarpit import open_tarpit


def count_hints(settings: Settings, queue: str) -> int:
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as broker:
        length = broker.llen(f"bitune:{queue}")
        assert isinstance(length, int)
        return length


def test_hint_arrives_in_its_queue(settings: Settings, session: Session) -> None:
    dispatcher = Dispatcher(settings.broker_url.get_secret_value())
    before = count_hints(settings, "hint-test")
    hint_after_commit(session, "hint-test")
    hint_after_commit(session, "hint-test")

    dispatcher.send_pending(session)

    assert count_hints(settings, "hint-test") == before + 1
    dispatcher.close()


def test_dead_broker_costs_little_and_then_nothing(session: Session) -> None:
    dispatcher = Dispatcher("redis://127.0.0.1:9/0")
    started = time.monotonic()
    for _ in range(5):
        hint_after_commit(session, "train")
        dispatcher.send_pending(session)

    assert time.monotonic() - started < 3
    dispatcher.close()


def test_hanging_broker_costs_little_and_then_nothing(session: Session) -> None:
    with open_tarpit() as port:
        dispatcher = Dispatcher(f"redis://:password@127.0.0.1:{port}/0")
        started = time.monotonic()
        for _ in range(5):
            hint_after_commit(session, "train")
            dispatcher.send_pending(session)

        assert time.monotonic() - started < 3
        dispatcher.close()


def test_check_of_a_broker_that_is_away_is_short() -> None:
    with open_tarpit() as port:
        for url in (f"redis://:password@127.0.0.1:{port}/0", "redis://127.0.0.1:9/0"):
            dispatcher = Dispatcher(url)
            started = time.monotonic()
            with pytest.raises(OperationalError):
                dispatcher.check()

            assert time.monotonic() - started < 2
            dispatcher.close()

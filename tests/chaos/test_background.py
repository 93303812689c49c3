import threading

import pytest

from tests.chaos.background import running_beside


def test_thread_is_told_that_the_block_is_left() -> None:
    told = []

    with running_beside("worker", lambda ended: told.append(ended.wait(10))):
        assert told == []

    assert told == [True]


def test_error_of_the_thread_is_raised_where_the_block_is_left() -> None:
    def fail(_: threading.Event) -> None:
        raise ValueError("poster")

    with pytest.raises(ValueError, match="poster"), running_beside("worker", fail):
        pass

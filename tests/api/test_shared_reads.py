import asyncio
import threading

import pytest

from api.shared_reads import SharedReads


class Reading:
    """Counts its reads; each lasts until it is let go."""

    def __init__(self) -> None:
        self.count = 0
        self.let_go = threading.Event()

    def read(self) -> int:
        self.count += 1
        assert self.let_go.wait(10)
        return self.count


async def begin(shared: SharedReads, reading: Reading, count: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(shared.read("a", reading.read)) for _ in range(count)]
    await asyncio.sleep(0.1)  # for all of them to have asked
    return tasks


def test_those_who_ask_together_share_one_read_and_the_next_reads_again() -> None:
    async def ask() -> tuple[list[int], int]:
        shared, reading = SharedReads(), Reading()
        tasks = await begin(shared, reading, 10)
        reading.let_go.set()
        return [await task for task in tasks], await shared.read("a", reading.read)

    assert asyncio.run(ask()) == ([1] * 10, 2)


def test_whoever_hangs_up_takes_nothing_from_the_others() -> None:
    async def ask() -> int:
        shared, reading = SharedReads(), Reading()
        first, second = await begin(shared, reading, 2)
        first.cancel()
        reading.let_go.set()
        return await second

    assert asyncio.run(ask()) == 1


def test_error_reaches_all_who_asked() -> None:
    def fail() -> int:
        raise LookupError

    async def ask() -> list[int | BaseException]:
        shared = SharedReads()
        return await asyncio.gather(*(shared.read("a", fail) for _ in range(3)), return_exceptions=True)

    with pytest.raises(LookupError):
        asyncio.run(SharedReads().read("a", fail))
    assert [type(result) for result in asyncio.run(ask())] == [LookupError] * 3

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


def test_whoever_comes_while_a_read_is_under_way_shares_the_one_after_it() -> None:
    async def ask() -> list[int]:
        shared, reading = SharedReads(), Reading()
        early = await begin(shared, reading, 2)
        late = await begin(shared, reading, 3)
        reading.let_go.set()
        return [await task for task in (*early, *late)]

    assert asyncio.run(ask()) == [1, 1, 2, 2, 2]


def test_a_crowd_that_waits_for_a_thread_reads_once() -> None:
    async def ask() -> int:
        shared, busy, reading = SharedReads(num_threads=1), Reading(), Reading()
        held = asyncio.create_task(shared.read("busy", busy.read))
        await asyncio.sleep(0.1)  # for it to have the thread
        first = await begin(shared, reading, 2)
        second = await begin(shared, reading, 2)
        reading.let_go.set()
        busy.let_go.set()
        await asyncio.gather(held, *first, *second)
        return reading.count

    assert asyncio.run(ask()) == 1


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

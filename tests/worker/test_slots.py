import threading
from collections.abc import Callable

from tests.conditions import wait_until
from worker.slots import Slots


def test_as_many_run_side_by_side_as_there_are_slots() -> None:
    release = threading.Event()
    running: list[int] = []

    def drain(_: Callable[[], None]) -> None:
        running.append(1)
        release.wait(10)

    slots = Slots(count=2, drain=drain)

    for _ in range(5):
        slots.wake()
    wait_until(lambda: len(running) == 2, seconds=5)

    release.set()
    slots.close()
    assert len(running) == 2


def test_slot_that_failed_is_free_again() -> None:
    calls: list[int] = []

    def fail(_: Callable[[], None]) -> None:
        calls.append(1)
        raise RuntimeError

    slots = Slots(count=1, drain=fail)
    slots.wake()
    wait_until(lambda: len(calls) == 1, seconds=5)

    def runs_again() -> bool:
        slots.wake()
        return len(calls) >= 2

    wait_until(runs_again, seconds=5)
    slots.close()


def test_closed_slots_take_nothing() -> None:
    calls: list[int] = []
    slots = Slots(count=1, drain=lambda _: calls.append(1))
    slots.close()

    slots.wake()

    assert calls == []

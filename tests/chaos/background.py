"""Threads that do not die unseen."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def running_beside(name: str, work: Callable[[threading.Event], None]) -> Iterator[None]:
    """`work` gets an event that is set when the block is left; what it raised is raised there."""
    ended = threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        try:
            work(ended)
        except Exception as exc:  # noqa: BLE001 - raised again where the block is left
            errors.append(exc)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]

"""What this worker runs side by side: each slot is a thread that claims until nothing is left."""

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger()


class Slots:
    """Shared by hints and looks. `drain` runs one run after another and may wake more."""

    def __init__(self, *, count: int, drain: Callable[[Callable[[], None]], None]) -> None:
        self._free = threading.Semaphore(count)
        self._drain = drain
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closed = False

    def wake(self) -> None:
        """Starts a slot if one is free; with none free the hint is dropped, since a slot claims again after its run.

        A hint that comes between its last claim and its end waits for the next look.
        """
        with self._lock:
            if self._closed or not self._free.acquire(blocking=False):
                return
            thread = threading.Thread(target=self._run, name="slot")
            self._threads.add(thread)
            thread.start()

    def close(self) -> None:
        """Takes no more work and waits for the slots to end; the caller has told them to stop."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _run(self) -> None:
        try:
            self._drain(self.wake)
        except Exception:  # the slot ends; its run is requeued by its lease, and the next look starts a new one
            log.exception("slot_failed")
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                self._free.release()

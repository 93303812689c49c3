"""The GPUs of this host, counted without torch: the worker itself must never touch CUDA."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
WAIT_SECONDS = 0.5


def list_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in {"", "-1"}]
    count = len(list(NVIDIA_GPUS.iterdir())) if NVIDIA_GPUS.is_dir() else 0
    return [str(number) for number in range(count)]


class GpuPool:
    """Lends each GPU to one run at a time."""

    def __init__(self, gpus: list[str]) -> None:
        self.size = len(gpus)
        self._free = list(gpus)
        self._returned = threading.Condition()

    @contextmanager
    def lend(self, count: int, *, should_stop: Callable[[], bool]) -> Iterator[list[str]]:
        """Waits until as many are free; they are fewer when it should stop. Raises ValueError for more than exist."""
        if count > self.size:
            raise ValueError(f"{count} of {self.size} GPUs")
        with self._returned:
            while len(self._free) < count and not should_stop():
                self._returned.wait(WAIT_SECONDS)
            lent, self._free = self._free[:count], self._free[count:]
        try:
            yield lent
        finally:
            with self._returned:
                self._free += lent
                self._returned.notify_all()

"""The GPUs of this host, counted without torch: the worker itself must never touch CUDA."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from core.runs.types import Claim, GpuOffer

NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")


def list_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in {"", "-1"}]
    count = len(list(NVIDIA_GPUS.iterdir())) if NVIDIA_GPUS.is_dir() else 0
    return [str(number) for number in range(count)]


class Loan(NamedTuple):
    """A claimed run and the GPUs that are its own until it ends."""

    held: Claim
    devices: list[str]


class GpuPool:
    """Lends each GPU to one run at a time. Claims of one worker follow each other, so an offer stays true."""

    def __init__(self, gpus: list[str]) -> None:
        self.size = len(gpus)
        self._free = list(gpus)
        self._lent: dict[Claim, list[str]] = {}
        self._claiming = threading.Lock()
        self._changing = threading.Lock()

    @contextmanager
    def lend(self, claim: Callable[[GpuOffer], Claim | None]) -> Iterator[Loan | None]:
        """Calls `claim` with what is free, and lends what the claimed run wants; None when nothing was claimed.

        What has not been given back or withheld by the end is given back then.
        """
        with self._claiming:
            held = claim(GpuOffer(free=len(self._free), total=self.size))
            devices = [] if held is None else self._take(held)
        try:
            yield None if held is None else Loan(held, devices)
        finally:
            if held is not None:
                self.give_back(held)

    def give_back(self, held: Claim) -> None:
        """No process of the run is left, though it may not have ended; more than once is once."""
        with self._changing:
            self._free = sorted([*self._free, *self._lent.pop(held, [])])

    def withhold(self, held: Claim) -> None:
        """A process of the run cannot be killed, and may use them for ever: this worker has them no longer."""
        with self._changing:
            self.size -= len(self._lent.pop(held, []))

    def _take(self, held: Claim) -> list[str]:
        with self._changing:
            taken, self._free = self._free[: held.gpus], self._free[held.gpus :]
            self._lent[held] = taken
        return taken

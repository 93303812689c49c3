"""Inspects pictures in several processes side by side; one that kills its decoder is left out alone."""

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import IO, Protocol, TypeVar

from core.images import ImageLimits
from core.ingest.decoder import read_answer, write_request
from core.ingest.errors import DecodersDyingError
from core.ingest.pictures import Inspection, Unusable, inspect

MAX_DEATHS = 10  # in one import; each costs the start of a process
AHEAD = 2  # batches for each decoder: the next one waits while one is decoded

InspectAll = Callable[[list[bytes]], list[Inspection]]


class HasContents(Protocol):
    @property
    def contents(self) -> list[bytes]: ...


Batch = TypeVar("Batch", bound=HasContents)


class Decoders:
    """With none, pictures are inspected in this process. All of them start at once and live until the end."""

    def __init__(self, count: int, limits: ImageLimits) -> None:
        self._count = count
        self._limits = limits
        self._deaths_left = MAX_DEATHS
        self._idle: SimpleQueue[_Decoder] = SimpleQueue()

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            for _ in range(self._count):
                self._idle.put(_Decoder(self._limits))
            yield
        finally:
            while not self._idle.empty():
                self._idle.get().close()

    def inspect(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[Inspection]]]:
        """In the order given, with a bounded number of batches on their way."""
        if self._count == 0:
            for batch in batches:
                yield batch, [inspect(content, self._limits) for content in batch.contents]
            return
        pending: deque[tuple[Batch, Future[list[Inspection]]]] = deque()
        with ThreadPoolExecutor(self._count, thread_name_prefix="decoder") as threads:
            for batch in batches:
                pending.append((batch, threads.submit(self._inspect, batch.contents)))
                if len(pending) > AHEAD * self._count:
                    first, future = pending.popleft()
                    yield first, future.result()
            for last, future in pending:
                yield last, future.result()

    def _inspect(self, contents: list[bytes]) -> list[Inspection]:
        decoder = self._idle.get()
        try:
            return decoder.inspect(contents)
        except (EOFError, OSError):
            decoder = self._replace(decoder)
        finally:
            self._idle.put(decoder)
        if len(contents) == 1:
            return [Unusable("image_decode_crashed", "its decoder broke, or needed more memory than is allowed")]
        return [inspection for content in contents for inspection in self._inspect([content])]

    def _replace(self, decoder: "_Decoder") -> "_Decoder":
        decoder.close()
        self._deaths_left -= 1
        if self._deaths_left < 0:
            raise DecodersDyingError
        return _Decoder(self._limits)


class _Decoder:
    """One process, and its pipes."""

    def __init__(self, limits: ImageLimits) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "core.ingest.decoder", limits.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def inspect(self, contents: list[bytes]) -> list[Inspection]:
        """Raises EOFError or OSError when the process dies of it."""
        write_request(_require(self._process.stdin), contents)
        return read_answer(_require(self._process.stdout))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it did not read is lost with it
                    pipe.close()


def _require(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise EOFError
    return pipe

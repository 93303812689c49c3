"""Inspects pictures in several processes side by side; one that kills its decoder is left out alone."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Lock
from typing import IO, Protocol, TypeVar

from core.images import ImageLimits
from core.ingest.decoder import read_answer, serve, write_request
from core.ingest.errors import DecodersDyingError
from core.ingest.pictures import Inspection, Unusable, inspect

MAX_DEATHS = 10  # in one import; each costs the start of a process
FORK = multiprocessing.get_context("fork")  # at once, where a new interpreter would load for a third of a second
PIPE_BYTES = 256 * 1024
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
        self._lock = Lock()  # of what follows
        self._all: list[_Decoder] = []
        self._idle: SimpleQueue[_Decoder] = SimpleQueue()

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            for _ in range(self._count):
                self._idle.put(self._start())
            yield
        finally:
            for decoder in self._all:
                decoder.close()

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
            if decoder.is_closed:  # and none could be started in its place
                raise DecodersDyingError
            return decoder.inspect(contents)
        except (EOFError, OSError):
            decoder = self._replace(decoder)
        finally:
            self._idle.put(decoder)
        if len(contents) == 1:
            return [Unusable("image_decode_crashed", "its decoder broke, or needed more memory than is allowed")]
        return [inspection for content in contents for inspection in self._inspect([content])]

    def _start(self) -> "_Decoder":
        decoder = _Decoder(self._limits, self._all)
        self._all.append(decoder)
        return decoder

    def _replace(self, decoder: "_Decoder") -> "_Decoder":
        with self._lock:
            self._all.remove(decoder)
            decoder.close()
            self._deaths_left -= 1
            if self._deaths_left < 0:
                raise DecodersDyingError
            return self._start()


class _Decoder:
    """One process, and our ends of its pipes."""

    def __init__(self, limits: ImageLimits, others: "list[_Decoder]") -> None:
        (request_end, requests), (answers, answer_end) = os.pipe(), os.pipe()
        self._requests = os.fdopen(requests, "wb", PIPE_BYTES)
        self._answers = os.fdopen(answers, "rb", PIPE_BYTES)
        ours = [pipe for decoder in (self, *others) for pipe in (decoder._requests, decoder._answers)]
        self._process = FORK.Process(target=_serve, args=(request_end, answer_end, ours, limits), daemon=True)
        self._process.start()
        os.close(request_end)
        os.close(answer_end)

    def inspect(self, contents: list[bytes]) -> list[Inspection]:
        """Raises EOFError or OSError when the process dies of it."""
        write_request(self._requests, contents)
        return read_answer(self._answers)

    @property
    def is_closed(self) -> bool:
        return self._requests.closed

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # what it did not read is lost with it
                pipe.close()


def _serve(request_end: int, answer_end: int, inherited: list[IO[bytes]], limits: ImageLimits) -> None:
    for pipe in inherited:
        os.close(pipe.fileno())  # else no decoder would see the end of its requests
    with os.fdopen(request_end, "rb", PIPE_BYTES) as requests, os.fdopen(answer_end, "wb", PIPE_BYTES) as answers:
        serve(requests, answers, limits)

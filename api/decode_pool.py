"""Long-lived children that turn untrusted bytes into pixels: limited in memory and time, replaced when they die."""

import asyncio
import mmap
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from api.decode_protocol import ANSWER, DecodeRequest, PictureSize
from api.shared_pixels import SHARED_BYTES, open_shared
from core.errors import UnavailableError
from core.images import ImageError, ImageLimits
from core.inference.preprocessing import Preprocessing
from core.settings import Settings

log = structlog.get_logger()

MEMORY_BYTES = 1536 * 1024**2
TIMEOUT_SECONDS = 10.0
CHILD_MODULE = "api.decode_child"
KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH")  # no secret is among them
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class DecodedImage:
    """Pixels as `prepare` makes them (S, S, 3) uint8, and the size that the picture had, upright."""

    pixels: NDArray[np.uint8]
    width: int
    height: int


class DecodePool:
    """Decodes as many pictures side by side as it has children; a picture that kills its child fails alone.

    Belongs to the event loop that starts it.
    """

    def __init__(
        self,
        *,
        num_workers: int,
        limits: ImageLimits,
        timeout_seconds: float = TIMEOUT_SECONDS,
        child_module: str = CHILD_MODULE,
    ) -> None:
        self._limits = limits
        self._timeout_seconds = timeout_seconds
        self._children = [_Child(child_module) for _ in range(num_workers)]
        self._idle = list(self._children)
        self._turns = asyncio.Semaphore(num_workers)  # first come, first served
        self._at_work: set[asyncio.Task[DecodedImage | ImageError]] = set()
        self._is_closed = False

    @classmethod
    def from_settings(cls, settings: Settings) -> "DecodePool":
        limits = ImageLimits(
            max_bytes=settings.max_predict_image_bytes,
            max_pixels=settings.max_image_pixels,
            max_side=settings.max_image_side,
        )
        return cls(num_workers=settings.decode_workers, limits=limits)

    async def start(self) -> None:
        for child in self._children:
            await child.start()

    def close(self) -> None:
        """Pictures at work crash, and those that wait are refused."""
        self._is_closed = True
        for child in self._children:
            child.kill()
            child.wait()

    def pids(self) -> list[int]:
        return [child.pid for child in self._children if child.pid is not None]

    async def decode_many(self, contents: list[bytes], preprocessing: Preprocessing) -> list[DecodedImage | ImageError]:
        """In the order given; an error stands in the place of its picture."""
        return list(await asyncio.gather(*(self.decode(content, preprocessing) for content in contents)))

    async def decode(self, content: bytes, preprocessing: Preprocessing) -> DecodedImage | ImageError:
        """The error has a code of `core.images` or is image_decode_crashed or image_decode_timeout.

        Raises UnavailableError when the pool is closed.
        """
        await self._turns.acquire()
        if self._is_closed:
            self._turns.release()  # to the next, who hears the same
            raise UnavailableError("stopping", "the service is stopping", hint="try again in a moment")
        task = asyncio.create_task(self._decode_by(self._idle.pop(), content, preprocessing))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return await asyncio.shield(task)  # a child is free when its answer was read, whoever has hung up

    async def _decode_by(
        self, child: "_Child", content: bytes, preprocessing: Preprocessing
    ) -> DecodedImage | ImageError:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await child.decode(content, preprocessing, self._limits)
        except Exception as exc:  # noqa: BLE001 - a child that untrusted bytes have taken over may do anything
            log.warning("decode_child_replaced", error=type(exc).__name__)
            await child.stop()
            if isinstance(exc, TimeoutError):
                return ImageError("image_decode_timeout", "the picture took too long to decode")
            return ImageError("image_decode_crashed", "the picture could not be decoded within its memory")
        finally:
            self._idle.append(child)
            self._turns.release()


class _Running(NamedTuple):
    process: subprocess.Popen[bytes]
    pixels: mmap.mmap  # which it shares with us
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Child:
    """A process that is started again when a picture needs it."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        return None if self._running is None else self._running.process.pid

    async def start(self) -> _Running:
        process, pixels, connection = await asyncio.to_thread(_start_process, self._module)
        self._running = _Running(process, pixels, *await asyncio.open_unix_connection(sock=connection))
        return self._running

    async def decode(
        self, content: bytes, preprocessing: Preprocessing, limits: ImageLimits
    ) -> DecodedImage | ImageError:
        """Raises whatever comes of a child that has died or makes no sense."""
        if self._running is not None and self._running.process.poll() is not None:
            await self.stop()  # it died when it had nothing to do
        running = self._running or await self.start()
        request = DecodeRequest(size_bytes=len(content), preprocessing=preprocessing, limits=limits)
        running.writer.writelines([request.model_dump_json().encode() + b"\n", content])
        answer = ANSWER.validate_json(await running.reader.readline())
        if not isinstance(answer, PictureSize):
            return ImageError(answer.code, answer.message)
        size = preprocessing.image_size
        pixels = np.frombuffer(running.pixels, dtype=np.uint8, count=size * size * 3).reshape(size, size, 3).copy()
        return DecodedImage(pixels=pixels, width=answer.width, height=answer.height)

    async def stop(self) -> None:
        self.kill()
        await asyncio.to_thread(self.wait)
        self._running = None

    def kill(self) -> None:
        if self._running is not None:
            self._running.process.kill()
            self._running.writer.transport.abort()  # what it has not read is lost

    def wait(self) -> None:
        """Until it has ended."""
        if self._running is not None:
            self._running.process.wait()


def _start_process(module: str) -> tuple[subprocess.Popen[bytes], mmap.mmap, socket.socket]:
    """The process, the pixels that it shares, and our end of what we say to it.

    In a thread that stays: the child dies with it.
    """
    ours, its = socket.socketpair()
    with ExitStack() as on_error, its, open_shared() as shared:
        on_error.callback(ours.close)
        pixels = mmap.mmap(shared, SHARED_BYTES)
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(shared), str(MEMORY_BYTES)],
            stdin=its.fileno(),
            stdout=its.fileno(),
            stderr=subprocess.DEVNULL,
            pass_fds=[shared],
            env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ} | ONE_THREAD,
        )
        on_error.pop_all()
        return process, pixels, ours

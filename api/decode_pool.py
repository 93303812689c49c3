"""Long-lived children that turn untrusted bytes into pixels: limited in memory and time, replaced when they die."""

import asyncio
import json
import mmap
import os
import queue
import select
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.images import ImageError, ImageLimits
from core.inference.preprocessing import Preprocessing
from core.settings import Settings

MEMORY_BYTES = 1536 * 1024**2
TIMEOUT_SECONDS = 10.0
SHARED_BYTES = 1024 * 1024 * 3  # the largest input of a network: 1,024 pixels a side
KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH")  # no secret is among them
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class DecodedImage:
    """Pixels as `prepare` makes them (S, S, 3) uint8, and the size that the picture had, upright."""

    pixels: NDArray[np.uint8]
    width: int
    height: int


class DecodePool:
    """Decodes as many pictures side by side as it has children; a picture that kills its child fails alone."""

    def __init__(self, *, num_workers: int, limits: ImageLimits) -> None:
        self._limits = limits
        self._num_workers = num_workers
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="decode")

    @classmethod
    def from_settings(cls, settings: Settings) -> "DecodePool":
        limits = ImageLimits(
            max_bytes=settings.max_predict_image_bytes,
            max_pixels=settings.max_image_pixels,
            max_side=settings.max_image_side,
        )
        return cls(num_workers=settings.decode_workers, limits=limits)

    def start(self) -> None:
        for _ in range(self._num_workers):
            self._idle.put(_Child())

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()

    def pids(self) -> list[int]:
        """Of the children that decode nothing right now."""
        idle = [self._idle.get() for _ in range(self._idle.qsize())]
        for child in idle:
            self._idle.put(child)
        return [child.pid for child in idle]

    async def decode_many(self, contents: list[bytes], preprocessing: Preprocessing) -> list[DecodedImage | ImageError]:
        """In the order given; an error stands in the place of its picture."""
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(self._threads, self._try, content, preprocessing) for content in contents]
        return list(await asyncio.gather(*futures))

    def decode(self, content: bytes, preprocessing: Preprocessing) -> DecodedImage:
        """Raises ImageError, with the codes of `core.images` or image_decode_crashed or image_decode_timeout."""
        child = self._idle.get()
        try:
            return child.decode(content, preprocessing, self._limits)
        except (OSError, ChildProcessError) as exc:
            child = self._replace(child)
            raise ImageError("image_decode_crashed", "the picture could not be decoded within its memory") from exc
        except TimeoutError as exc:
            child = self._replace(child)
            raise ImageError("image_decode_timeout", "the picture took too long to decode") from exc
        finally:
            self._idle.put(child)

    def _try(self, content: bytes, preprocessing: Preprocessing) -> DecodedImage | ImageError:
        try:
            return self.decode(content, preprocessing)
        except ImageError as exc:
            return exc

    def _replace(self, child: "_Child") -> "_Child":
        child.close()
        return _Child()


class _Child:
    """One child process and the memory that it shares with us."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(SHARED_BYTES)
            self._shared = mmap.mmap(file.fileno(), SHARED_BYTES)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api.decode_child", str(file.fileno()), str(MEMORY_BYTES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[file.fileno()],
                env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ} | ONE_THREAD,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def decode(self, content: bytes, preprocessing: Preprocessing, limits: ImageLimits) -> DecodedImage:
        self._send(content, preprocessing, limits)
        answer = self._receive()
        if "code" in answer:
            raise ImageError(answer["code"], answer["message"])
        size = preprocessing.image_size
        pixels = np.frombuffer(self._shared, dtype=np.uint8, count=size * size * 3).reshape(size, size, 3).copy()
        return DecodedImage(pixels=pixels, width=answer["width"], height=answer["height"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it did not read is lost with it
                    pipe.close()

    def _send(self, content: bytes, preprocessing: Preprocessing, limits: ImageLimits) -> None:
        request = {
            "size_bytes": len(content),
            "preprocessing": preprocessing.model_dump(),
            "limits": limits.model_dump(),
        }
        if self._process.stdin is None:
            raise ChildProcessError
        self._process.stdin.write(json.dumps(request).encode() + b"\n" + content)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:  # the child's own JSON
        if self._process.stdout is None:
            raise ChildProcessError
        ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT_SECONDS)
        if not ready:
            raise TimeoutError
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError
        answer: dict[str, Any] = json.loads(line)
        return answer

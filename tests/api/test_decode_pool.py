import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import uvloop
from structlog.testing import capture_logs

from api.decode_pool import CHILD_MODULE, DecodedImage, DecodePool
from api.shared_pixels import SHARED_BYTES, open_shared
from core.errors import UnavailableError
from core.images import ImageError, ImageLimits, decode_rgb
from core.inference.preprocessing import Preprocessing, prepare
from tests.conditions import wait_until
from tests.pictures import encode, make_picture

PREPROCESSING = Preprocessing(
    image_size=32, resize_size=36, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
LIMITS = ImageLimits(max_pixels=100_000)


class Decoders(NamedTuple):
    """A pool that has started, and the loop that it belongs to."""

    pool: DecodePool
    loop: asyncio.Runner

    def decode(self, content: bytes) -> DecodedImage | ImageError:
        return self.loop.run(self.pool.decode(content, PREPROCESSING))


@contextmanager
def run_decoders(
    num_workers: int, *, timeout_seconds: float = 10.0, child_module: str = CHILD_MODULE
) -> Iterator[Decoders]:
    """On the loop that the API runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        pool = DecodePool(
            num_workers=num_workers, limits=LIMITS, timeout_seconds=timeout_seconds, child_module=child_module
        )
        loop.run(pool.start())
        try:
            yield Decoders(pool, loop)
        finally:
            pool.close()


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with run_decoders(2) as decoders:
        yield decoders


def test_pixels_are_those_of_validation(decoders: Decoders) -> None:
    content = encode(make_picture(1, (60, 40)))

    decoded = decoders.decode(content)

    assert isinstance(decoded, DecodedImage)
    assert np.array_equal(decoded.pixels, prepare(decode_rgb(content, LIMITS), PREPROCESSING))
    assert (decoded.width, decoded.height) == (60, 40)


BAD = {
    "text": (b"hello", "image_format_unsupported"),
    "nothing": (b"", "image_format_unsupported"),
    "cut off": (encode(make_picture(2, (90, 90)), "JPEG")[:-900], "image_truncated"),
    "too many pixels": (encode(make_picture(3, (400, 400))), "image_too_many_pixels"),
}


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD.keys())
def test_bad_picture_says_what_is_wrong(decoders: Decoders, content: bytes, code: str) -> None:
    error = decoders.decode(content)

    assert isinstance(error, ImageError)
    assert error.code == code


def test_order_is_kept_and_errors_stay_in_their_place(decoders: Decoders) -> None:
    good = [encode(make_picture(seed, (40 + seed, 40))) for seed in range(8)]
    contents = [*good[:4], b"bad", *good[4:]]

    decoded = decoders.loop.run(decoders.pool.decode_many(contents, PREPROCESSING))

    assert isinstance(decoded[4], ImageError)
    widths = [item.width for item in decoded if isinstance(item, DecodedImage)]
    assert widths == [40 + seed for seed in range(8)]


def test_child_that_is_killed_at_work_is_replaced() -> None:
    async def run(pool: DecodePool) -> None:
        (pid,) = pool.pids()
        os.kill(pid, signal.SIGSTOP)
        at_work = asyncio.create_task(pool.decode(content, PREPROCESSING))
        await asyncio.sleep(0.01)  # it has its request
        os.kill(pid, signal.SIGKILL)
        error = await at_work
        assert isinstance(error, ImageError)
        assert error.code == "image_decode_crashed"

    content = encode(make_picture(1))
    with run_decoders(1) as decoders:
        decoders.decode(content)
        decoders.loop.run(run(decoders.pool))
        assert isinstance(decoders.decode(content), DecodedImage)


def test_child_that_is_killed_when_idle_costs_no_picture() -> None:
    content = encode(make_picture(1))
    with run_decoders(1) as decoders:
        decoders.decode(content)
        (pid,) = decoders.pool.pids()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: " Z " in Path(f"/proc/{pid}/stat").read_text(), seconds=5)

        assert isinstance(decoders.decode(content), DecodedImage)
        assert decoders.pool.pids() != [pid]


def test_child_that_is_stuck_is_replaced() -> None:
    content = encode(make_picture(1))
    with run_decoders(1, timeout_seconds=2.0) as decoders:
        wait_until(lambda: isinstance(decoders.decode(content), DecodedImage), seconds=20)
        (pid,) = decoders.pool.pids()
        os.kill(pid, signal.SIGSTOP)

        with capture_logs() as logged:
            error = decoders.decode(content)

        assert isinstance(error, ImageError)
        assert error.code == "image_decode_timeout"
        assert [(line["event"], line["error"]) for line in logged] == [("decode_child_replaced", "TimeoutError")]
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    "answer",
    [
        b"no JSON",
        b"5",
        b"{}",
        b'{"width": "3", "height": 3}',
        b'{"width": -3, "height": 3}',
        b'{"code": 5, "message": []}',
        b"[" * 100_000,
    ],
    ids=lambda answer: answer[:12].decode(),
)
def test_child_that_makes_no_sense_is_replaced(answer: bytes) -> None:
    with run_decoders(1, child_module="tests.api.hostile_child") as decoders:
        size = decoders.decode(b'{"width": 3, "height": 2}')
        assert isinstance(size, DecodedImage)
        before = decoders.pool.pids()

        error = decoders.decode(answer)

        assert isinstance(error, ImageError)
        assert error.code == "image_decode_crashed"
        assert isinstance(decoders.decode(b'{"width": 3, "height": 2}'), DecodedImage)
        assert decoders.pool.pids() != before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can seal memory")
def test_child_cannot_shorten_the_memory_that_is_read() -> None:
    with open_shared() as descriptor:
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        assert os.fstat(descriptor).st_size == SHARED_BYTES


def test_who_hangs_up_leaves_his_child_in_order() -> None:
    async def run(pool: DecodePool) -> None:
        gone = asyncio.create_task(pool.decode(encode(make_picture(1, (60, 40))), PREPROCESSING))
        await asyncio.sleep(0)  # it has its child now
        waiting = asyncio.create_task(pool.decode(encode(make_picture(2, (50, 40))), PREPROCESSING))
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        decoded = await waiting
        assert isinstance(decoded, DecodedImage)
        assert decoded.width == 50

    with run_decoders(1) as decoders:
        before = decoders.pool.pids()
        decoders.loop.run(run(decoders.pool))
        assert decoders.pool.pids() == before


def test_children_know_neither_torch_nor_secrets() -> None:
    with run_decoders(1) as decoders:
        decoders.decode(encode(make_picture(1)))
        (pid,) = decoders.pool.pids()

        assert b"BITUNE" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()


def test_pictures_that_wait_are_decoded_in_their_order() -> None:
    async def run(pool: DecodePool) -> None:
        contents = [encode(make_picture(seed)) for seed in range(6)]
        answered: list[int] = []

        async def decode(number: int) -> None:
            await pool.decode(contents[number], PREPROCESSING)
            answered.append(number)
            if number < 3:
                await decode(number + 3)  # comes when others wait already

        await asyncio.gather(*(decode(number) for number in range(3)))
        assert answered == list(range(6))

    with run_decoders(1) as decoders:
        decoders.loop.run(run(decoders.pool))


def test_closed_pool_leaves_no_child_and_nobody_waiting() -> None:
    async def run(pool: DecodePool) -> None:
        for pid in pool.pids():
            os.kill(pid, signal.SIGSTOP)
        asked = [asyncio.create_task(pool.decode(encode(make_picture(1)), PREPROCESSING)) for _ in range(5)]
        await asyncio.sleep(0.01)  # two are at work
        pool.close()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ImageError] * 2 + [UnavailableError] * 3

    with run_decoders(2) as decoders:
        pids = decoders.pool.pids()
        decoders.loop.run(run(decoders.pool))
        with pytest.raises(UnavailableError):
            decoders.decode(encode(make_picture(1)))
        assert decoders.pool.pids() == []

    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from api.decode_pool import DecodedImage, DecodePool
from core.images import ImageError, ImageLimits, decode_rgb
from core.inference.preprocessing import Preprocessing, prepare
from tests.pictures import encode, make_picture

PREPROCESSING = Preprocessing(
    image_size=32, resize_size=36, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
LIMITS = ImageLimits(max_pixels=100_000)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    pool = DecodePool(num_workers=2, limits=LIMITS)
    pool.start()
    yield pool
    pool.close()


def test_pixels_are_those_of_validation(pool: DecodePool) -> None:
    content = encode(make_picture(1, (60, 40)))

    decoded = pool.decode(content, PREPROCESSING)

    expected = prepare(decode_rgb(content, LIMITS), PREPROCESSING)
    assert np.array_equal(decoded.pixels, expected)
    assert (decoded.width, decoded.height) == (60, 40)


BAD = {
    "text": (b"hello", "image_format_unsupported"),
    "nothing": (b"", "image_format_unsupported"),
    "cut off": (encode(make_picture(2, (90, 90)), "JPEG")[:-900], "image_truncated"),
    "too many pixels": (encode(make_picture(3, (400, 400))), "image_too_many_pixels"),
}


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD.keys())
def test_bad_picture_says_what_is_wrong(pool: DecodePool, content: bytes, code: str) -> None:
    with pytest.raises(ImageError) as raised:
        pool.decode(content, PREPROCESSING)

    assert raised.value.code == code


def test_order_is_kept_and_errors_stay_in_their_place(pool: DecodePool) -> None:
    good = [encode(make_picture(seed, (40 + seed, 40))) for seed in range(8)]
    contents = [*good[:4], b"bad", *good[4:]]

    decoded = asyncio.run(pool.decode_many(contents, PREPROCESSING))

    assert isinstance(decoded[4], ImageError)
    widths = [item.width for item in decoded if isinstance(item, DecodedImage)]
    assert widths == [40 + seed for seed in range(8)]


def test_child_that_is_killed_is_replaced() -> None:
    pool = DecodePool(num_workers=1, limits=LIMITS)
    pool.start()
    content = encode(make_picture(1))
    pool.decode(content, PREPROCESSING)
    for pid in pool.pids():
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(ImageError) as raised:
        pool.decode(content, PREPROCESSING)

    assert raised.value.code == "image_decode_crashed"
    assert pool.decode(content, PREPROCESSING).width == 32
    pool.close()


def test_children_know_neither_torch_nor_secrets(pool: DecodePool) -> None:
    pool.decode(encode(make_picture(1)), PREPROCESSING)
    pid = pool.pids()[0]

    assert b"BITUNE" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()


def test_closed_pool_leaves_no_child() -> None:
    pool = DecodePool(num_workers=2, limits=LIMITS)
    pool.start()
    pids = pool.pids()

    pool.close()

    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from core.inference.preprocessing import Preprocessing, prepare
from tests.pictures import make_picture

PREPROCESSING = Preprocessing(
    image_size=56, resize_size=64, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (64, 64), (31, 40), (300, 300), (97, 101)])
def test_equals_resize_of_the_shorter_side_and_centre_crop(size: tuple[int, int]) -> None:
    picture = make_picture(0, (12, 12)).resize(size, Image.Resampling.BICUBIC)  # smooth, as pictures are

    scale = 64 / min(size)
    resized = picture.resize((round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 56) // 2, (resized.height - 56) // 2
    expected = np.asarray(resized.crop((left, top, left + 56, top + 56)), dtype=np.int16)

    assert np.abs(prepare(picture, PREPROCESSING) - expected).max() <= 1


def test_very_long_picture_is_fine() -> None:
    assert prepare(Image.new("RGB", (16_000, 8)), PREPROCESSING).shape == (56, 56, 3)


def test_it_never_loads_torch() -> None:
    code = "import sys, core.inference.preprocessing, core.inference.model_card; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

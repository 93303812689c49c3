"""Pictures that have nothing to do with solar cells: of what is installed, or drawn; the same for the same seed."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SAMPLES = Path(matplotlib.get_data_path()) / "sample_data"
SIDE = 300  # of a cell
Draw = Callable[[np.random.Generator], Image.Image]


def make_unrelated(count: int, *, seed: int) -> dict[str, list[Image.Image]]:
    """So many of each group."""
    groups: dict[str, Draw] = {
        "crops of a photograph (matplotlib's grace_hopper.jpg), colour": _crop_photograph,
        "crops of an elevation map (matplotlib's jacksboro_fault_dem), grey": _crop_relief,
        "shapes, colour": _draw_shapes,
        "stripes, grey": _draw_stripes,
        "noise of any grain, grey": _draw_noise,
    }
    random = np.random.default_rng(seed)
    return {name: [draw(random) for _ in range(count)] for name, draw in groups.items()}


def _crop_photograph(random: np.random.Generator) -> Image.Image:
    with Image.open(SAMPLES / "grace_hopper.jpg") as picture:
        return _crop(picture.convert("RGB"), random)


def _crop_relief(random: np.random.Generator) -> Image.Image:
    with np.load(SAMPLES / "jacksboro_fault_dem.npz") as file:
        return _crop(_make_grey(file["elevation"]), random)


def _crop(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    side = int(random.integers(100, min(picture.size)))
    left, top = (int(random.integers(0, length - side + 1)) for length in picture.size)
    return picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))


def _draw_shapes(random: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), _pick_colour(random))
    pen = ImageDraw.Draw(picture)
    for number in range(int(random.integers(2, 9))):
        left, top = (int(value) for value in random.integers(-50, 250, 2))
        width, height = (int(value) for value in random.integers(30, 200, 2))
        fill = pen.ellipse if number % 2 else pen.rectangle
        fill((left, top, left + width, top + height), fill=_pick_colour(random))
    return picture


def _pick_colour(random: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue


def _draw_stripes(random: np.random.Generator) -> Image.Image:
    angle, period = random.uniform(0, np.pi), random.uniform(6, 80)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    waves = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * 2 * np.pi / period)
    return _make_grey(waves)


def _draw_noise(random: np.random.Generator) -> Image.Image:
    grains = int(random.integers(8, SIDE))
    return _make_grey(random.random((grains, grains))).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _make_grey(values: NDArray[np.generic]) -> Image.Image:
    numbers = values.astype(np.float64)
    scaled = (numbers - numbers.min()) / (np.ptp(numbers) or 1)
    return Image.fromarray((255 * scaled).astype(np.uint8)).convert("RGB")

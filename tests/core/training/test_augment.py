from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from core.training.augment import UNIFORMS_PER_CROP, Crops, apply_crops, crop_at_once, draw_crops

SIDE = 48
SIZES = np.array([[48, 48], [30, 48], [48, 20], [9, 11], [48, 47], [1, 48]])


def draw(seed: int, sizes: NDArray[np.int64] = SIZES, *, min_area: float = 0.2) -> Crops:
    uniforms = np.random.default_rng(seed).random((len(sizes), UNIFORMS_PER_CROP))
    return draw_crops(uniforms, sizes, min_area=min_area)


def make_canvases(seed: int) -> Tensor:
    return torch.rand(len(SIZES), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 255


def crop_one(canvas: Tensor, crops: Crops, sample: int, size: int) -> Tensor:
    top, left, height, width = (int(value[sample]) for value in crops[:4])
    crop: Tensor = functional.resized_crop(canvas, top, left, height, width, [size, size], antialias=True)
    return crop.flip(2) if crops.mirrored[sample] else crop


@pytest.mark.parametrize("apply", [apply_crops, crop_at_once])
@pytest.mark.parametrize("size", [16, 32, 60])
@pytest.mark.parametrize("seed", range(3))
def test_crops_equal_torchvision_sample_by_sample(
    apply: Callable[[Tensor, Crops, int], Tensor], seed: int, size: int
) -> None:
    canvases, crops = make_canvases(seed), draw(seed)

    ours = apply(canvases, crops, size)

    for sample, canvas in enumerate(canvases):
        torch.testing.assert_close(ours[sample], crop_one(canvas, crops, sample, size), atol=1e-2, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device; its sums are checked above")
def test_crops_on_a_gpu_are_those_of_a_cpu() -> None:
    canvases, crops = make_canvases(0), draw(0)

    there = apply_crops(canvases.cuda(), crops, 32)

    torch.testing.assert_close(there.cpu(), apply_crops(canvases, crops, 32), atol=1e-2, rtol=0)


def test_crops_lie_within_their_pictures() -> None:
    for seed in range(50):
        crops = draw(seed)
        heights, widths = torch.from_numpy(SIZES[:, 0]), torch.from_numpy(SIZES[:, 1])
        assert ((crops.top >= 0) & (crops.left >= 0) & (crops.height >= 1) & (crops.width >= 1)).all()
        assert ((crops.top + crops.height <= heights) & (crops.left + crops.width <= widths)).all()


@pytest.mark.parametrize("min_area", [0.2, 0.7])
def test_area_and_ratio_keep_their_bounds(min_area: float) -> None:
    crops = draw(0, np.full((2000, 2), 200), min_area=min_area)

    share = crops.height * crops.width / 200**2
    ratio = crops.width / crops.height
    assert (float(share.min()), float(share.max())) == pytest.approx((min_area, 1.0), abs=0.03)
    assert (float(ratio.min()), float(ratio.max())) == pytest.approx((3 / 4, 4 / 3), abs=0.03)
    assert float(crops.mirrored.float().mean()) == pytest.approx(0.5, abs=0.05)


def test_centre_is_the_crop_when_no_try_fits() -> None:
    crops = draw(0, np.array([[200, 200], [200, 300]]), min_area=1.0)

    assert [[int(value[row]) for value in crops[:4]] for row in (0, 1)] == [[0, 0, 200, 200], [0, 16, 200, 267]]


@pytest.mark.parametrize("size", [(100, 200), (300, 100), (90, 160)])
def test_crops_of_a_long_picture_lie_everywhere_in_it(size: tuple[int, int]) -> None:
    crops = draw(0, np.tile(size, (500, 1)), min_area=0.7)

    places = crops.left + crops.top  # along the longer side, mostly
    assert float(places.min()) < 10
    assert float(places.max()) > max(size) - 4 / 3 * min(size) - 10
    assert len(set((crops.height * crops.width).tolist())) > 100

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.dataset_index import SHARDS_DIR
from core.inference.normalize import Normalizer
from core.inference.preprocessing import make_preprocessing, prepare
from core.training.data import load_samples
from core.training.errors import InterruptedTraining
from core.training.novelty_keys import BATCH_SIZE, MAX_KEYS, choose_places, compute_keys, read_squares
from tests.core.training.jobs import IMAGE_SIZE, TRAIN_SAMPLES, VANILLA, describe, make_job, make_sample, make_spec
from tests.core.training.trainers import ignore

CPU = torch.device("cpu")
PREPROCESSING = make_preprocessing(describe(), IMAGE_SIZE)


def mix(*counts: int) -> Tensor:
    """Labels of so many samples of each class, in any order."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return torch.from_numpy(np.random.default_rng(0).permutation(labels))


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ((100, 100, 100), [10, 10, 10]),
        ((5, 100, 5000), [5, 12, 13]),  # what the first leaves, the others share
        ((5000, 100, 5), [13, 12, 5]),
        ((4, 5, 6), [4, 5, 6]),
        ((7, 0, 100), [7, 0, 23]),
        ((3,) * 40, [1] * 40),  # never less than one
    ],
)
def test_classes_are_remembered_evenly(counts: tuple[int, ...], chosen: list[int]) -> None:
    labels = mix(*counts)

    places = choose_places(labels, max_keys=30)

    assert torch.bincount(labels[places], minlength=len(counts)).tolist() == chosen
    assert places.tolist() == sorted(set(places.tolist()))


def test_keys_are_bounded_and_spread_over_their_class() -> None:
    labels = torch.arange(6000) % 2

    places = choose_places(labels)

    assert len(places) == MAX_KEYS
    for label in (0, 1):
        own = places[labels[places].numpy() == label]
        assert (own[0], own[-1]) == (label, 5998 + label)
        assert set(np.diff(own).tolist()) <= {10, 12}  # 3,000 of the class to 512


class Mean(nn.Module):
    """Features are the mean colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def compute(squares: list[NDArray[np.uint8]], on_batch: Callable[[], None]) -> Tensor | None:
    return compute_keys(Mean(), iter(squares), Normalizer(PREPROCESSING, CPU), device=CPU, on_batch=on_batch)


def make_squares(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(0).integers(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8))


def test_keys_equal_the_twin() -> None:
    batches: list[int] = []
    squares = make_squares(2 * BATCH_SIZE + 3)

    keys = compute(squares, lambda: batches.append(1))

    assert keys is not None
    assert (keys.dtype, len(batches)) == (torch.float16, 3)
    for square, key in zip(squares, keys, strict=True):
        mean = (square / 255).mean(axis=(0, 1))
        feature = (mean - PREPROCESSING.mean) / PREPROCESSING.std
        assert key.tolist() == pytest.approx(feature / np.linalg.norm(feature), abs=1e-3)


def test_no_pictures_are_no_keys() -> None:
    assert compute([], lambda: None) is None


def test_stop_comes_through_after_a_batch() -> None:
    def stop() -> None:
        raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        compute(make_squares(1), stop)


def test_originals_that_are_damaged_are_left_out(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA))
    samples = load_samples(job, on_progress=ignore).train
    assert len(list(read_squares(job.dataset_dir, samples, PREPROCESSING))) == TRAIN_SAMPLES
    with (job.dataset_dir / SHARDS_DIR / "0.tar").open("r+b") as shard:
        shard.seek(512)  # after the header of the first
        shard.write(bytes(100))

    assert len(list(read_squares(job.dataset_dir, samples, PREPROCESSING))) == TRAIN_SAMPLES - 1


def test_pictures_are_remembered_as_predict_sees_them(tmp_path: Path) -> None:
    """Not as the canvases that training crops."""
    job = make_job(tmp_path, make_spec(VANILLA))
    samples = load_samples(job, on_progress=ignore).train
    assert not samples.cache.has_square[samples.rows].any()

    first = next(read_squares(job.dataset_dir, samples, PREPROCESSING))

    assert np.array_equal(first, prepare(make_sample(0, "train", 0).image, PREPROCESSING))

"""The samples of a job by split."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.dataset_index import INDEX_FILE, IndexEntry, Split, read_index
from core.errors import InvalidInputError
from core.inference.normalize import to_channels_first
from core.inference.preprocessing import make_preprocessing
from core.ingest.splits import draw_validation
from core.trainer_protocol import TrainerJob
from core.training.cache import CacheSource, PixelCache, open_cache


@dataclass(frozen=True)
class SampleSet:
    """The samples of one split; a place is a sample's number among them."""

    cache: PixelCache  # of the whole dataset
    rows: NDArray[np.int64]  # where the samples stand in it, (M,)
    labels: Tensor  # (M,) int64
    sample_ids: list[str]
    paths: list[str]  # in the archive

    def __len__(self) -> int:
        return len(self.rows)

    def read_squares(self, places: NDArray[np.int64]) -> Tensor:
        """uint8 (B, 3, S, S), as `prepare` made them."""
        if not self.cache.has_square[self.rows[places]].all():
            raise ValueError("the cache was not asked for the squares of these samples")
        return to_channels_first(torch.from_numpy(self.cache.squares[self.rows[places]]))

    def read_canvases(self, places: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """uint8 (B, 3, L, L), and height and width of the picture on each (B, 2)."""
        rows = self.rows[places]
        if not self.cache.sizes[rows].all():
            raise ValueError("the cache was not asked for the canvases of these samples")
        return to_channels_first(torch.from_numpy(self.cache.canvases[rows])), self.cache.sizes[rows]


class Placed(NamedTuple):
    """An entry, and where its picture stands in the cache."""

    row: int
    entry: IndexEntry


class SplitSamples(NamedTuple):
    train: SampleSet
    val: SampleSet
    test: SampleSet  # may be empty

    @property
    def has_test(self) -> bool:
        return len(self.test) > 0

    @property
    def held_out(self) -> SampleSet:
        """What the model is evaluated on: validation, and so optimistic, where the dataset keeps no test split."""
        return self.test if self.has_test else self.val


def load_samples(job: TrainerJob, *, on_progress: Callable[[int, int], None]) -> SplitSamples:
    """Decodes what is not decoded yet; `on_progress` gets pictures done and in all."""
    entries = read_index(job.dataset_dir / INDEX_FILE)
    entries = draw_validation(entries, fraction=job.spec.validation_fraction, seed=job.spec.seed)
    cache = open_cache(
        job.cache_dir,
        _make_source(job, entries),
        on_progress=lambda done: on_progress(done, len(entries)),
        max_bytes=job.cache_max_bytes,
    )
    samples = SplitSamples(
        train=make_sample_set(_select(entries, "train"), cache),
        val=make_sample_set(_select(entries, "val"), cache),
        test=make_sample_set(_select(entries, "test"), cache),
    )
    _check(samples, num_classes=len(job.classes))
    return samples


def make_sample_set(placed: list[Placed], cache: PixelCache) -> SampleSet:
    return SampleSet(
        cache=cache,
        rows=np.array([one.row for one in placed], dtype=np.int64),
        labels=torch.tensor([one.entry.label for one in placed], dtype=torch.int64),
        sample_ids=[one.entry.sample_id for one in placed],
        paths=[one.entry.path for one in placed],
    )


def _make_source(job: TrainerJob, entries: list[IndexEntry]) -> CacheSource:
    """Training takes random crops of canvases; everything else, squares."""
    is_cropped = np.array([entry.split == "train" for entry in entries], dtype=np.bool_)
    if job.spec.training.augmentation == "none":
        is_cropped[:] = False
    preprocessing = make_preprocessing(job.backbone, job.spec.training.image_size)
    return CacheSource(job.dataset_dir, entries, preprocessing, wants_square=~is_cropped, wants_canvas=is_cropped)


def _select(entries: list[IndexEntry], split: Split) -> list[Placed]:
    return [Placed(row, entry) for row, entry in enumerate(entries) if entry.split == split]


def _check(samples: SplitSamples, *, num_classes: int) -> None:
    if len(samples.train) < 2 or len(samples.val) == 0:
        raise InvalidInputError(
            "too_few_samples",
            f"{len(samples.train)} samples to train on and {len(samples.val)} to validate on",
            hint="add pictures, or change `validation_fraction`",
        )
    for split in samples:
        if any(not 0 <= label < num_classes for label in split.labels.tolist()):  # it would corrupt a queue in silence
            raise ValueError(f"a label of the index is none of the {num_classes} classes")

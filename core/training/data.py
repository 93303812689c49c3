"""The samples of a job by split, and the batches of an epoch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.dataset_index import INDEX_FILE, IndexEntry, Split, read_index
from core.inference.normalize import Normalizer, to_channels_first
from core.inference.preprocessing import Preprocessing
from core.ingest.splits import draw_validation
from core.trainer_protocol import TrainerJob
from core.training.augment import UNIFORMS_PER_CROP, Crops, apply_crops, centre_crops, draw_crops
from core.training.cache import open_cache
from core.training.randomness import draw_order, draw_uniform, make_sample_keys


@dataclass(frozen=True)
class SampleSet:
    """The samples of one split."""

    pixels: NDArray[np.uint8]  # of the whole dataset, (N, side, side, 3)
    rows: NDArray[np.int64]  # which of them, (M,)
    labels: Tensor  # (M,) int64
    sample_ids: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: NDArray[np.int64], device: torch.device) -> Tensor:
        """uint8 pixels (B, 3, side, side) of these places of the split."""
        return to_channels_first(torch.from_numpy(self.pixels[self.rows[places]]).to(device))


class SplitSamples(NamedTuple):
    train: SampleSet
    val: SampleSet
    test: SampleSet


def make_preprocessing(job: TrainerJob) -> Preprocessing:
    size = job.spec.training.image_size
    return Preprocessing(
        image_size=size,
        resize_size=max(size, round(size / job.backbone.crop_pct)),
        interpolation=job.backbone.interpolation,
        mean=job.backbone.mean,
        std=job.backbone.std,
    )


def load_samples(job: TrainerJob, *, on_progress: Callable[[int, int], None]) -> SplitSamples:
    """Decodes what is not decoded yet; `on_progress` gets pictures done and in all."""
    entries = read_index(job.dataset_dir / INDEX_FILE)
    cache = open_cache(
        job.cache_dir,
        job.dataset_dir,
        entries,
        make_preprocessing(job),
        on_progress=lambda done: on_progress(done, len(entries)),
    )
    entries = draw_validation(entries, fraction=job.spec.validation_fraction, seed=job.spec.seed)
    return SplitSamples(
        train=_select(entries, "train", cache.train),
        val=_select(entries, "val", cache.eval),
        test=_select(entries, "test", cache.eval),
    )


class TrainBatches:
    """Batches by number: batch `i` of an epoch is the same whoever asks, whenever."""

    def __init__(
        self,
        samples: SampleSet,
        *,
        batch_size: int,
        num_views: int,
        augmentation: Literal["standard", "none"],
        preprocessing: Preprocessing,
        seed: int,
        device: torch.device,
    ) -> None:
        self._samples = samples
        self._keys = make_sample_keys(samples.sample_ids)
        self._batch_size = batch_size
        self._num_views = num_views
        self._augmentation = augmentation
        self._preprocessing = preprocessing
        self._seed = seed
        self._device = device
        self._normalize = Normalizer(mean=preprocessing.mean, std=preprocessing.std, device=device)
        self._order_epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def read(self, epoch: int, number: int) -> tuple[list[Tensor], Tensor]:
        """`num_views` normalised views (B, 3, S, S), and the labels (B,)."""
        places = self._draw_places(epoch)[number * self._batch_size : (number + 1) * self._batch_size]
        pixels = self._samples.read(places, self._device).float()
        views = [self._make_view(pixels, places, epoch=epoch, view=view) for view in range(self._num_views)]
        return views, self._samples.labels[places].to(self._device)

    def _draw_places(self, epoch: int) -> NDArray[np.int64]:
        if self._order_epoch != epoch:
            self._order = draw_order(len(self._samples), seed=self._seed, epoch=epoch).numpy()
            self._order_epoch = epoch
        return self._order

    def _make_view(self, pixels: Tensor, places: NDArray[np.int64], *, epoch: int, view: int) -> Tensor:
        crops = self._draw_crops(places, pixels.shape[-1], epoch=epoch, view=view)
        cropped = apply_crops(pixels, crops, self._preprocessing.image_size)
        return self._normalize(cropped).contiguous(memory_format=torch.channels_last)

    def _draw_crops(self, places: NDArray[np.int64], source_size: int, *, epoch: int, view: int) -> Crops:
        if self._augmentation == "none":
            share = self._preprocessing.image_size / self._preprocessing.resize_size
            return centre_crops(len(places), source_size=source_size, crop_size=round(share * source_size))
        uniforms = draw_uniform(self._keys[places], UNIFORMS_PER_CROP, seed=self._seed, epoch=epoch, view=view)
        return draw_crops(uniforms, source_size)


def read_in_order(samples: SampleSet, *, batch_size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """uint8 pixels (B, 3, S, S) and labels (B,), from the first sample to the last."""
    for start in range(0, len(samples), batch_size):
        places = np.arange(start, min(start + batch_size, len(samples)))
        yield samples.read(places, device), samples.labels[places].to(device)


def _select(entries: list[IndexEntry], split: Split, pixels: NDArray[np.uint8]) -> SampleSet:
    rows = [row for row, entry in enumerate(entries) if entry.split == split]
    return SampleSet(
        pixels=pixels,
        rows=np.array(rows, dtype=np.int64),
        labels=torch.tensor([entries[row].label for row in rows], dtype=torch.int64),
        sample_ids=[entries[row].sample_id for row in rows],
    )

"""The training batches: which samples, in which views."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.inference.normalize import Normalizer
from core.inference.preprocessing import Preprocessing
from core.specs import ResolvedSpec
from core.training.augment import UNIFORMS_PER_CROP, apply_crops, draw_crops
from core.training.data import SampleSet
from core.training.randomness import draw_order, draw_uniform, make_sample_keys


class TrainBatches:
    """Batches by number: a batch of an epoch is the same whoever asks, whenever."""

    def __init__(
        self,
        samples: SampleSet,
        spec: ResolvedSpec,
        preprocessing: Preprocessing,
        *,
        num_views: int,
        device: torch.device,
    ) -> None:
        self._samples = samples
        self._spec = spec
        self._size = preprocessing.image_size
        self._num_views = num_views
        self._device = device
        self._normalize = Normalizer(preprocessing, device)
        self._keys = make_sample_keys(samples.sample_ids)
        self._order_epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def read(self, epoch: int, number: int) -> tuple[list[Tensor], Tensor]:
        """`num_views` normalised views (B, 3, S, S) in channels-last memory, and the labels (B,)."""
        batch_size = self._spec.training.batch_size
        places = self._draw_places(epoch)[number * batch_size : (number + 1) * batch_size]
        labels = self._samples.labels[places].to(self._device)
        if self._spec.training.augmentation == "none":
            return self._read_centres(places), labels
        return self._read_crops(places, epoch), labels

    def _draw_places(self, epoch: int) -> NDArray[np.int64]:
        if self._order_epoch != epoch:
            self._order = draw_order(self._keys, seed=self._spec.seed, epoch=epoch)
            self._order_epoch = epoch
        return self._order

    def _read_centres(self, places: NDArray[np.int64]) -> list[Tensor]:
        pixels = self._samples.read_squares(places).to(self._device)
        return [self._finish(pixels)] * self._num_views

    def _read_crops(self, places: NDArray[np.int64], epoch: int) -> list[Tensor]:
        canvases, sizes = self._samples.read_canvases(places)
        pixels = canvases.to(self._device).float().contiguous()
        views = []
        for view in range(self._num_views):
            uniforms = draw_uniform(self._keys[places], UNIFORMS_PER_CROP, seed=self._spec.seed, epoch=epoch, view=view)
            views.append(self._finish(apply_crops(pixels, draw_crops(uniforms, sizes), self._size)))
        return views

    def _finish(self, pixels: Tensor) -> Tensor:
        return self._normalize(pixels).contiguous(memory_format=torch.channels_last)

"""The training batches: which samples, in which views."""

from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.inference.normalize import Normalizer
from core.inference.preprocessing import Preprocessing
from core.specs import ResolvedSpec
from core.training.augment import UNIFORMS_PER_CROP, apply_crops, draw_crops
from core.training.data import SampleSet
from core.training.methods.base import Batch
from core.training.randomness import draw_balanced_order, draw_order, draw_uniform, make_sample_keys
from core.training.ranks import Ranks


class TrainBatches:
    """Batches by number: a batch of an epoch is the same whoever asks, whenever."""

    def __init__(
        self,
        samples: SampleSet,
        spec: ResolvedSpec,
        preprocessing: Preprocessing,
        ranks: Ranks,
        *,
        num_views: int,
        device: torch.device,
    ) -> None:
        self._samples = samples
        self._spec = spec
        self._size = preprocessing.image_size
        self._ranks = ranks
        self._num_views = num_views
        self._device = device
        self._normalize = Normalizer(preprocessing, device)
        self._keys = make_sample_keys(samples.sample_ids)
        self._order_epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    @property
    def size(self) -> int:
        """Samples of this rank's share."""
        return min(self._spec.training.batch_size, len(self._samples)) // self._ranks.size

    def read(self, epoch: int, number: int) -> Batch:
        """This rank's share; views are in channels-last memory."""
        batch_size = self._spec.training.batch_size
        places = self._draw_places(epoch)[number * batch_size : (number + 1) * batch_size]
        places = places[self._ranks.share(len(places))]
        labels = self._samples.labels[places].to(self._device)
        if self._spec.training.augmentation == "none":
            return Batch(self._read_centres(places), labels)
        return Batch(self._read_crops(places, epoch), labels)

    def _draw_places(self, epoch: int) -> NDArray[np.int64]:
        if self._order_epoch != epoch:
            self._order = self._draw_order(epoch)
            self._order_epoch = epoch
        return self._order

    def _draw_order(self, epoch: int) -> NDArray[np.int64]:
        match self._spec.training.sampling:
            case "shuffled":
                return draw_order(self._keys, seed=self._spec.seed, epoch=epoch)
            case "balanced":
                labels = self._samples.labels.numpy()
                return draw_balanced_order(self._keys, labels, seed=self._spec.seed, epoch=epoch)
            case _:
                assert_never(self._spec.training.sampling)

    def _read_centres(self, places: NDArray[np.int64]) -> list[Tensor]:
        pixels = self._samples.read_squares(places).to(self._device)
        return [self._finish(pixels)] * self._num_views

    def _read_crops(self, places: NDArray[np.int64], epoch: int) -> list[Tensor]:
        canvases, sizes = self._samples.read_canvases(places)
        pixels = canvases.to(self._device).float().contiguous()
        views = []
        for view in range(self._num_views):
            uniforms = draw_uniform(self._keys[places], UNIFORMS_PER_CROP, seed=self._spec.seed, epoch=epoch, view=view)
            crops = draw_crops(uniforms, sizes, min_area=self._spec.training.min_crop_area)
            views.append(self._finish(apply_crops(pixels, crops, self._size)))
        return views

    def _finish(self, pixels: Tensor) -> Tensor:
        return self._normalize(pixels).contiguous(memory_format=torch.channels_last)

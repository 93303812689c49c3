"""The training pictures that a model remembers: by them predict tells a picture of a kind that it never saw.

They are seen as predict sees pictures, centre squares of the originals: crops and jitter of training would be further
from each other than any new picture, and the cache holds no squares of training samples.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.dataset_index import INDEX_FILE, read_index
from core.inference.normalize import Normalizer, to_channels_first
from core.inference.preprocessing import Preprocessing
from core.training.data import SampleSet
from core.training.originals import read_square
from core.training.spread import spread

MAX_KEYS = 1024  # of a model, or one a class where there are more classes
BATCH_SIZE = 16  # decoding them is what takes time, and a stop waits for a batch


def choose_places(labels: Tensor, *, max_keys: int = MAX_KEYS) -> NDArray[np.int64]:
    """Of labels (M,) the places to remember (K,), in order: as many of each class, where it has as many."""
    order = labels.argsort(stable=True).numpy()
    bounds = np.flatnonzero(np.diff(labels.numpy()[order])) + 1
    classes = sorted(np.split(order, bounds), key=len)  # what a small class leaves, the larger ones share
    chosen: list[NDArray[np.int64]] = []
    left = max_keys
    for index, places in enumerate(classes):
        some = spread(len(places), max(1, left // (len(classes) - index)))
        chosen.append(places[some])
        left -= len(some)
    return np.sort(np.concatenate(chosen))


def read_squares(dataset_dir: Path, samples: SampleSet, preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    """(S, S, 3) of each sample to remember whose original is still readable."""
    entries = read_index(dataset_dir / INDEX_FILE)
    for place in choose_places(samples.labels):
        square = read_square(dataset_dir, entries[samples.rows[place]], preprocessing)
        if square is not None:
            yield square


@torch.inference_mode()
def compute_keys(
    backbone: nn.Module,
    squares: Iterator[NDArray[np.uint8]],
    normalize: Normalizer,
    *,
    device: torch.device,
    on_batch: Callable[[], None],
) -> Tensor | None:
    """Unit features float16 (K, d), None of no picture; the backbone is in eval mode, `on_batch` may raise."""
    parts = []
    while batch := list(islice(squares, BATCH_SIZE)):
        images = normalize(to_channels_first(torch.from_numpy(np.stack(batch))).to(device))
        parts.append(functional.normalize(backbone(images).float(), dim=1).half().cpu())
        on_batch()
    return torch.cat(parts) if parts else None

"""Which pictures a run learns from, chooses its epoch by, and is judged on."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch

from core.dataset_index import IndexEntry, Split
from core.ingest.splits import assign_splits, draw_validation
from core.training.cache import PixelCache
from core.training.data import SampleSet, SplitSamples

HELD_OUT_SHARE = 0.25
TUNING_SHARE = 1 / 3  # of the rest: as many pictures as are held out
FIRST_TUNING_SEED = 100  # from here on a run never sees the held-out pictures
SUBSET_SEED = 10_000  # so that the subset is drawn in another order than the validation split within it

Fold = Literal["held_out", "tuning"]


class Chosen(NamedTuple):
    """An entry of the run, and where its picture stands in the cache."""

    row: int
    entry: IndexEntry


def name_fold(seed: int) -> Fold:
    return "tuning" if seed >= FIRST_TUNING_SEED else "held_out"


def choose(entries: list[IndexEntry], *, percent: int, seed: int) -> list[Chosen]:
    """A share of the training pictures, drawn by the seed, and all that the run is judged on, as its test split.

    `entries` have the held-out pictures as their test split. Of two shares by one seed the larger holds the smaller.
    """
    rows = {entry.sample_id: row for row, entry in enumerate(entries)}
    known = [entry if entry.split == "test" else _as_train(entry) for entry in entries]
    if name_fold(seed) == "tuning":
        known = assign_splits([entry for entry in known if entry.split == "train"], test_fraction=TUNING_SHARE)
    judged = [entry for entry in known if entry.split == "test"]
    learned = _draw_share([entry for entry in known if entry.split == "train"], percent, seed)
    return [Chosen(rows[entry.sample_id], entry) for entry in (*learned, *judged)]


def make_samples(chosen: list[Chosen], cache: PixelCache, *, validation_fraction: float, seed: int) -> SplitSamples:
    """With the validation split that a job of this seed draws."""
    drawn = draw_validation([one.entry for one in chosen], fraction=validation_fraction, seed=seed)
    placed = [Chosen(one.row, entry) for one, entry in zip(chosen, drawn, strict=True)]
    return SplitSamples(*(_make_set(placed, split, cache) for split in ("train", "val", "test")))


def _draw_share(entries: list[IndexEntry], percent: int, seed: int) -> list[IndexEntry]:
    """Stratified by class; near duplicates stay together."""
    if percent == 100:
        return entries
    drawn = draw_validation(entries, fraction=percent / 100, seed=SUBSET_SEED + seed)
    return [_as_train(entry) for entry in drawn if entry.split == "val"]


def _as_train(entry: IndexEntry) -> IndexEntry:
    return entry.model_copy(update={"split": "train"})


def _make_set(chosen: Iterable[Chosen], split: Split, cache: PixelCache) -> SampleSet:
    members = [one for one in chosen if one.entry.split == split]
    return SampleSet(
        cache=cache,
        rows=np.array([one.row for one in members], dtype=np.int64),
        labels=torch.tensor([one.entry.label for one in members], dtype=torch.int64),
        sample_ids=[one.entry.sample_id for one in members],
        paths=[one.entry.path for one in members],
    )

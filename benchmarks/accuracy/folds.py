"""Which pictures a run learns from, chooses its epoch by, and is judged on."""

from typing import Literal

from core.dataset_index import IndexEntry
from core.ingest.splits import assign_splits, draw_validation
from core.training.cache import PixelCache
from core.training.data import Placed, SplitSamples, make_sample_set

HELD_OUT_SHARE = 0.25
TUNING_SHARE = 1 / 3  # of the rest: as many pictures as are held out
FIRST_TUNING_SEED = 100  # from here on a run never sees the held-out pictures
SUBSET_SEED = 10_000  # so that the subset is drawn in another order than the validation split within it

Fold = Literal["held_out", "tuning"]


def name_fold(seed: int) -> Fold:
    return "tuning" if seed >= FIRST_TUNING_SEED else "held_out"


def choose(entries: list[IndexEntry], *, percent: int, seed: int) -> list[Placed]:
    """A share of the training pictures, drawn by the seed, and all that the run is judged on, as its test split.

    `entries` have the held-out pictures as their test split. Of two shares by one seed the larger holds the smaller.
    """
    rows = {entry.sample_id: row for row, entry in enumerate(entries)}
    known = [entry if entry.split == "test" else _as_train(entry) for entry in entries]
    if name_fold(seed) == "tuning":
        known = assign_splits([entry for entry in known if entry.split == "train"], test_fraction=TUNING_SHARE)
    judged = [entry for entry in known if entry.split == "test"]
    learned = _draw_share([entry for entry in known if entry.split == "train"], percent, seed)
    return [Placed(rows[entry.sample_id], entry) for entry in (*learned, *judged)]


def make_samples(chosen: list[Placed], cache: PixelCache, *, validation_fraction: float, seed: int) -> SplitSamples:
    """With the validation split that a job of this seed draws."""
    drawn = draw_validation([one.entry for one in chosen], fraction=validation_fraction, seed=seed)
    placed = [Placed(one.row, entry) for one, entry in zip(chosen, drawn, strict=True)]
    by_split = {split: [one for one in placed if one.entry.split == split] for split in ("train", "val", "test")}
    return SplitSamples(**{split: make_sample_set(members, cache) for split, members in by_split.items()})


def _draw_share(entries: list[IndexEntry], percent: int, seed: int) -> list[IndexEntry]:
    """Stratified by class; near duplicates stay together."""
    if percent == 100:
        return entries
    drawn = draw_validation(entries, fraction=percent / 100, seed=SUBSET_SEED + seed)
    return [_as_train(entry) for entry in drawn if entry.split == "val"]


def _as_train(entry: IndexEntry) -> IndexEntry:
    return entry.model_copy(update={"split": "train"})

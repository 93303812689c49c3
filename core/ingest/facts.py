"""What the rules for "auto" need to know of a dataset."""

from collections import Counter

from core.dataset_index import IndexEntry
from core.ingest.splits import draw_validation
from core.resolution import DatasetFacts
from core.specs import TrainingSpec


def gather_facts(entries: list[IndexEntry], classes: list[str], spec: TrainingSpec) -> DatasetFacts:
    """With the validation split that a job of this spec will draw."""
    drawn = draw_validation(entries, fraction=spec.validation_fraction, seed=spec.seed)
    splits = Counter(entry.split for entry in drawn)
    labels = Counter(entry.label for entry in drawn if entry.split == "train")
    return DatasetFacts(
        class_counts={name: labels[label] for label, name in enumerate(classes)},
        val_samples=splits["val"],
        test_samples=splits["test"],
    )

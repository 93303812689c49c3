from pathlib import Path

import pytest
import torch

from core.inference.preprocessing import make_preprocessing
from core.specs import ResolvedSpec
from core.training.batches import TrainBatches
from core.training.data import SplitSamples, load_samples
from core.training.ranks import Ranks
from tests.core.training.jobs import BATCH_SIZE, IMAGE_SIZE, VANILLA, describe, make_job, make_sample, make_spec
from tests.dataset_dirs import make_dataset_dir


def ignore(done: int, total: int) -> None:
    pass


@pytest.fixture
def samples(tmp_path: Path) -> SplitSamples:
    return load_samples(make_job(tmp_path, make_spec(VANILLA)), on_progress=ignore)


def make_batches(samples: SplitSamples, spec: ResolvedSpec) -> TrainBatches:
    preprocessing = make_preprocessing(describe(), IMAGE_SIZE)
    return TrainBatches(samples.train, spec, preprocessing, Ranks(), num_views=2, device=torch.device("cpu"))


def test_same_batch_comes_again_whoever_asks(samples: SplitSamples) -> None:
    one, other = (make_batches(samples, make_spec(VANILLA)) for _ in range(2))
    other.read(5, 0)

    views, labels = one.read(1, 2)
    again, labels_again = other.read(1, 2)

    assert all(torch.equal(view, twin) for view, twin in zip(views, again, strict=True))
    assert torch.equal(labels, labels_again)


def test_two_views_differ(samples: SplitSamples) -> None:
    views, labels = make_batches(samples, make_spec(VANILLA)).read(0, 0)

    assert [view.shape for view in views] == [(BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE)] * 2
    assert labels.shape == (BATCH_SIZE,)
    assert not torch.equal(*views)


def test_crops_are_as_large_as_asked(samples: SplitSamples) -> None:
    small, whole = (make_batches(samples, make_spec(VANILLA, min_crop_area=area)) for area in (0.2, 1.0))

    assert count_mirrored(small) == 0
    assert count_mirrored(whole) >= BATCH_SIZE - 1  # all of a picture, but for a pixel that rounding may leave out


def count_mirrored(batches: TrainBatches) -> int:
    """Samples of which one view is the other, or its mirror image."""
    pairs = list(zip(*batches.read(0, 0).views, strict=True))
    return sum(any(torch.allclose(one, seen, atol=1e-4) for seen in (other, other.flip(2))) for one, other in pairs)


def test_without_augmentation_every_view_is_the_one_of_validation(tmp_path: Path) -> None:
    spec = make_spec(VANILLA)
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"augmentation": "none"})})
    samples = load_samples(make_job(tmp_path, spec), on_progress=ignore)

    views, _ = make_batches(samples, spec).read(0, 0)

    assert torch.equal(*views)


def test_epoch_visits_every_sample_once(samples: SplitSamples) -> None:
    batches = make_batches(samples, make_spec(VANILLA))

    labels = torch.cat([batches.read(0, number)[1] for number in range(4)])

    assert sorted(labels.tolist()) == sorted(samples.train.labels.tolist())


def test_balanced_sampling_shows_every_class_equally_often(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, sampling="balanced"))
    pictures = [make_sample(int(seed >= 9), "train", seed) for seed in range(12)]  # nine red, three green
    pictures += [make_sample(seed % 2, "val", seed) for seed in range(12, 14)]
    job = job.model_copy(update={"dataset_dir": make_dataset_dir(tmp_path / "uneven", pictures)})
    batches = make_batches(load_samples(job, on_progress=ignore), job.spec)

    labels = torch.cat([batches.read(0, number).labels for number in range(3)])

    assert labels.bincount().tolist() == [6, 6]


def test_ranks_share_a_batch(samples: SplitSamples) -> None:
    spec, preprocessing, device = make_spec(VANILLA), make_preprocessing(describe(), IMAGE_SIZE), torch.device("cpu")
    whole = make_batches(samples, spec).read(1, 1)

    shares = [
        TrainBatches(samples.train, spec, preprocessing, Ranks(rank, 2), num_views=2, device=device).read(1, 1)
        for rank in range(2)
    ]

    assert torch.equal(torch.cat([share.labels for share in shares]), whole.labels)
    for view in range(2):
        torch.testing.assert_close(torch.cat([share.views[view] for share in shares]), whole.views[view])

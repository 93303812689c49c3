import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import tensor
from torch.nn import functional

from core.dataset_index import SHARDS_DIR
from core.inference.model_card import WEIGHTS_FILE
from core.inference.novelty import KEYS_NAME
from core.inference.predictor import Predictor
from core.inference.preprocessing import prepare
from core.specs import ResolvedMethodSpec
from core.trainer_protocol import Lineage, TrainerJob
from tests.core.training.jobs import (
    BI_TUNING,
    METHODS,
    TRAIN_SAMPLES,
    VANILLA,
    describe,
    make_dataset,
    make_job,
    make_sample,
    make_spec,
    read_card,
    read_weights,
    run_job,
)


def test_predictor_repeats_the_evaluation(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(BI_TUNING))
    run_job(job)
    card = read_card(job)

    predictor = Predictor.load(job.output_dir / "artifact" / WEIGHTS_FILE, card)
    test = [make_sample(seed % 2, "test", seed) for seed in range(20, 24)]
    pixels = np.stack([prepare(sample.image, card.preprocessing) for sample in test])
    probabilities = predictor.predict(pixels).probabilities

    labels = [sample.label for sample in test]
    assert (probabilities.argmax(axis=1) == labels).mean() == card.evaluation.accuracy
    loss = functional.nll_loss(tensor(probabilities).log(), tensor(labels))
    assert float(loss) == pytest.approx(card.evaluation.loss, abs=1e-5)


def test_card_says_where_the_weights_come_from(tmp_path: Path) -> None:
    lineage = Lineage(job_id="job_1", dataset_id="ds_1", dataset_sha256="b" * 64, attempt=2, code_version="0.1")
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1)).model_copy(update={"lineage": lineage})

    run_job(job)

    card = read_card(job)
    weights = (job.output_dir / "artifact" / WEIGHTS_FILE).read_bytes()
    assert card.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert (card.classes, card.backbone, card.backbone_sha256) == (["red", "green"], "test_efficientnet", "a" * 64)
    assert (card.lineage, card.spec) == (lineage, job.spec)


def predict(job: TrainerJob, pictures: list[Image.Image]) -> NDArray[np.float32]:
    """The unknown scores."""
    card = read_card(job)
    predictor = Predictor.load(job.output_dir / "artifact" / WEIGHTS_FILE, card)
    scores = predictor.predict(np.stack([prepare(one, card.preprocessing) for one in pictures])).unknown_scores
    assert scores is not None
    return scores


def make_stripes(period: int) -> Image.Image:
    """Grey, where the classes are colours."""
    waves = 255 * (np.arange(48) // period % 2) * np.ones((40, 1))
    return Image.fromarray(waves.astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)
def test_model_of_each_method_tells_pictures_of_another_kind(tmp_path: Path, method: ResolvedMethodSpec) -> None:
    job = make_job(tmp_path, make_spec(method, epochs=1))
    run_job(job)

    remembered = predict(job, [make_sample(seed % 2, "train", seed).image for seed in range(TRAIN_SAMPLES)])
    similar = predict(job, [make_sample(seed % 2, "test", seed).image for seed in range(100, 120)])
    foreign = predict(job, [make_stripes(period) for period in (2, 3, 4, 6, 8)])

    assert remembered.max() < 1e-4 < similar.min()  # each lies on its own key
    assert similar.max() < foreign.min()
    keys = read_weights(job)[KEYS_NAME]
    assert (keys.shape, keys.dtype) == ((TRAIN_SAMPLES, describe().num_features), torch.float16)


def test_model_calls_few_of_its_validation_pictures_unknown(tmp_path: Path) -> None:
    job = make_job(
        tmp_path, make_spec(BI_TUNING), dataset_dir=make_dataset(tmp_path / "dataset", train=TRAIN_SAMPLES, val=40)
    )
    run_job(job)

    scores = predict(job, [make_sample(seed % 2, "val", seed).image for seed in range(14, 54)])

    threshold = read_card(job).unknown_threshold
    assert threshold == pytest.approx(np.sort(scores)[-2], abs=2e-5)  # 2 of 40 are above or at it


def test_model_whose_training_pictures_are_damaged_has_no_keys(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1))
    run_job(job)
    assert read_card(job).unknown_threshold is not None
    shard = job.dataset_dir / SHARDS_DIR / "0.tar"
    shard.write_bytes(bytes(shard.stat().st_size))

    run_job(job)

    assert read_card(job).unknown_threshold is None
    assert KEYS_NAME not in read_weights(job)

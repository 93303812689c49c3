import hashlib
from pathlib import Path

import numpy as np
import pytest
from torch import tensor
from torch.nn import functional

from core.inference.model_card import WEIGHTS_FILE
from core.inference.predictor import Predictor
from core.inference.preprocessing import prepare
from core.trainer_protocol import Lineage
from tests.core.training.jobs import (
    BI_TUNING,
    VANILLA,
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


def test_model_calls_few_of_its_validation_pictures_unknown(tmp_path: Path) -> None:
    dataset_dir = make_dataset(tmp_path / "dataset", train=14, val=40)
    job = make_job(tmp_path, make_spec(BI_TUNING), dataset_dir=dataset_dir)
    run_job(job)
    card = read_card(job)

    predictor = Predictor.load(job.output_dir / "artifact" / WEIGHTS_FILE, card)
    validation = [make_sample(seed % 2, "val", seed) for seed in range(14, 54)]
    scores = predictor.predict(np.stack([prepare(one.image, card.preprocessing) for one in validation])).unknown_scores

    assert scores is not None
    assert card.unknown_threshold is not None
    assert card.unknown_threshold == pytest.approx(np.sort(scores)[-2], abs=2e-5)  # 2 of 40 are above or at it
    assert len(read_weights(job)["novelty.keys"]) == 6  # three of each class


def test_other_methods_leave_nothing_to_score_with(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1))

    run_job(job)

    assert read_card(job).unknown_threshold is None
    assert not [name for name in read_weights(job) if name.startswith("novelty.")]

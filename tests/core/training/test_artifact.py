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
from tests.core.training.jobs import BI_TUNING, VANILLA, make_job, make_sample, make_spec, read_card, run_job


def test_predictor_repeats_the_evaluation(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(BI_TUNING))
    run_job(job)
    card = read_card(job)

    predictor = Predictor.load(job.output_dir / "artifact" / WEIGHTS_FILE, card)
    test = [make_sample(seed % 2, "test", seed) for seed in range(20, 24)]
    probabilities = predictor.predict(np.stack([prepare(sample.image, card.preprocessing) for sample in test]))

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

from pathlib import Path

import numpy as np
import pytest
import torch

from core.dataset_index import SHARDS_DIR
from core.inference.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, Parity
from core.inference.predictor import Predictor
from core.trainer_protocol import Line, Note, TrainerJob
from core.training.data import load_samples
from core.training.errors import InterruptedTraining
from core.training.parity import Evaluated, measure_parity
from tests.cards import make_card
from tests.core.training.jobs import BI_TUNING, VANILLA, make_dataset, make_job, make_spec, read_card, run_job
from tests.core.training.trainers import ignore

TEST_SAMPLES = 10


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TrainerJob:
    """One that has ended with a model that tells the colours apart."""
    folder = tmp_path_factory.mktemp("parity")
    dataset_dir = make_dataset(folder / "dataset", train=20, test=TEST_SAMPLES)
    job = make_job(folder, make_spec(BI_TUNING, epochs=6, learning_rate=0.2), dataset_dir=dataset_dir)
    run_job(job)
    return job


def list_notes(lines: list[Line]) -> list[Note]:
    return [line for line in lines if isinstance(line, Note)]


def measure(job: TrainerJob, card: ModelCard) -> Parity:
    """With the honest card's answers for those of the evaluation."""
    samples = load_samples(job, on_progress=ignore).test
    weights_dir = job.output_dir / "artifact"
    pixels = samples.read_squares(np.arange(len(samples))).permute(0, 2, 3, 1).contiguous().numpy()
    probabilities = Predictor.load(weights_dir / WEIGHTS_FILE, read_card(job)).predict(pixels).probabilities
    evaluated = Evaluated(samples, torch.from_numpy(probabilities).double())
    return measure_parity(weights_dir, card, job.dataset_dir, evaluated, on_batch=lambda: None)


def change(card: ModelCard, **preprocessing: object) -> ModelCard:
    return card.model_copy(update={"preprocessing": card.preprocessing.model_copy(update=preprocessing)})


def test_card_says_that_predict_agrees_with_the_evaluation(job: TrainerJob) -> None:
    card = read_card(job)

    assert card.evaluation.accuracy == 1  # else the tests below would say little
    assert card.parity is not None
    assert (card.parity.num_samples, card.parity.agreement) == (TEST_SAMPLES, 1)
    assert card.parity.largest_difference < 1e-4


def test_honest_card_has_parity(job: TrainerJob) -> None:
    parity = measure(job, read_card(job))

    assert (parity.agreement, parity.is_sufficient) == (1, True)
    assert parity.largest_difference < 1e-4


@pytest.mark.parametrize("changed", [{"mean": (0.9, 0.1, 0.5)}, {"std": (9.0, 9.0, 9.0)}, {"image_size": 12}])
def test_other_preprocessing_is_seen_in_the_probabilities(job: TrainerJob, changed: dict[str, object]) -> None:
    assert measure(job, change(read_card(job), **changed)).largest_difference > 0.01


def test_preprocessing_that_swaps_the_colours_is_not_sufficient(job: TrainerJob) -> None:
    card = read_card(job)
    inverted = change(card, std=tuple(-value for value in card.preprocessing.std), mean=(0.5, 0.5, 0.5))

    parity = measure(job, inverted)

    assert parity.agreement < 0.95
    assert not parity.is_sufficient


def test_pictures_that_are_damaged_since_are_no_agreement(tmp_path: Path) -> None:
    """The cache still holds them as they were: only the way of predict sees it."""
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1))
    assert list_notes(run_job(job)) == []
    shard = job.dataset_dir / SHARDS_DIR / "0.tar"
    shard.write_bytes(bytes(shard.stat().st_size))

    lines = run_job(job)

    parity = read_card(job).parity
    assert parity == Parity(num_samples=4, agreement=0, largest_difference=1)
    (note,) = list_notes(lines)
    assert (note.level, note.code, note.details) == ("warning", "model_not_ready", parity.model_dump())
    assert "4 of 4 pictures otherwise" in note.message
    assert lines[-1].type == "finished"


def test_parity_is_of_validation_without_a_test_split(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1), dataset_dir=make_dataset(tmp_path / "no-test", test=0))

    run_job(job)

    parity = read_card(job).parity
    assert parity is not None
    assert (parity.num_samples, parity.agreement) == (6, 1)


def test_stop_while_predict_is_tried_only_repeats_the_end(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1))
    card_file = job.output_dir / "artifact" / CARD_FILE

    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=card_file.exists)
    assert read_card(job).parity is None
    lines = run_job(job.model_copy(update={"resume_dir": job.output_dir / "checkpoints" / "3"}))

    assert [line.type for line in lines] == ["finished"]
    assert read_card(job).parity is not None


def test_card_of_before_is_loaded() -> None:
    before = make_card("a", "b").model_dump(mode="json", exclude={"parity"})

    assert ModelCard.model_validate(before).parity is None


@pytest.mark.parametrize(("expected", "agreement"), [((0.499, 0.501), 1.0), ((0.4, 0.6), 0.5)])
def test_labels_that_are_a_tie_may_change_places(
    job: TrainerJob, expected: tuple[float, float], agreement: float
) -> None:
    """Half of the pictures are red; what rounding decides is no deviation."""
    evaluated = Evaluated(load_samples(job, on_progress=ignore).test, torch.tensor([expected] * TEST_SAMPLES))

    parity = measure_parity(
        job.output_dir / "artifact", read_card(job), job.dataset_dir, evaluated, on_batch=lambda: None
    )

    assert parity.agreement == agreement

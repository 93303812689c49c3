"""A label is the name of its folder, wherever the name stands in any order."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.inference.model_card import WEIGHTS_FILE
from core.inference.predictor import Predictor
from core.inference.preprocessing import prepare
from core.ingest.child import run_ingest
from core.ingest.limits import IngestLimits
from core.ingest.protocol import OUT_DIR, IngestJob
from core.trainer_protocol import TrainerJob
from tests.core.training.jobs import BI_TUNING, make_job, make_sample, make_spec, read_card, run_job
from tests.pictures import Member, encode, write_zip

RED, GREEN = 0, 1  # what the pictures show
PICTURES = 16


def make_folder(name: str, colour: int) -> list[Member]:
    pictures = [make_sample(colour, "train", 100 * colour + seed).image for seed in range(PICTURES)]
    return [(f"{name}/{number}.png", encode(picture)) for number, picture in enumerate(pictures)]


def train(folder: Path, members: list[Member]) -> TrainerJob:
    """Imports and trains as the service does."""
    job = IngestJob(archive=write_zip(folder / "a.zip", members), limits=IngestLimits(), test_fraction=0.2)
    imported = run_ingest(job, folder, should_stop=lambda: False, on_progress=lambda _: None)
    trainer_job = make_job(folder / "job", make_spec(BI_TUNING, epochs=20), dataset_dir=folder / OUT_DIR)
    trainer_job = trainer_job.model_copy(update={"classes": [counts.name for counts in imported.classes]})
    run_job(trainer_job)
    return trainer_job


def name(job: TrainerJob, picture: Image.Image) -> str:
    card = read_card(job)
    predictor = Predictor.load(job.output_dir / "artifact" / WEIGHTS_FILE, card)
    (answer,) = predictor.predict(prepare(picture, card.preprocessing)[np.newaxis]).split()
    return card.classes[answer.probabilities.argmax()]


@pytest.mark.parametrize(
    ("red", "green", "order"), [("apple", "pear", 1), ("tomato", "pear", 1), ("tomato", "pear", -1)]
)
def test_prediction_is_the_name_of_the_folder(tmp_path: Path, red: str, green: str, order: int) -> None:
    folders = [make_folder(red, RED), make_folder(green, GREEN)]
    job = train(tmp_path, [member for folder in folders[::order] for member in folder])

    assert [name(job, make_sample(colour, "test", 7).image) for colour in (RED, GREEN)] == [red, green]

"""Predict over HTTP answers what the evaluation said of the same picture, in every mode and format that is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.dataset_index import INDEX_FILE, IndexEntry, read_index
from core.db.session import SessionFactory
from core.inference.classifier import Classifier, create_backbone
from core.inference.exported_network import ExportedNetwork
from core.inference.normalize import Normalizer
from core.ingest.child import run_ingest
from core.ingest.limits import IngestLimits
from core.ingest.protocol import OUT_DIR, IngestJob
from core.settings import Settings
from core.storage import Storage
from core.training.cache import CacheSource, open_cache
from core.training.data import Placed, make_sample_set
from core.training.evaluation import compute_outputs
from tests.abuse.good_pictures import list_good_pictures
from tests.api.conftest import open_client, serve
from tests.api.served_models import make_state, store_model
from tests.cards import make_card
from tests.core.training.jobs import BACKBONE, describe
from tests.pictures import make_members, write_zip

CLASSES = ("a", "b", "c")
TIE = 0.002  # between the two most probable classes: what a network that was never trained says is chance then


class Corpus(NamedTuple):
    contents: dict[str, bytes]  # by the path in the archive
    dataset_dir: Path
    entries: list[IndexEntry]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Imported as a dataset is."""
    folder = tmp_path_factory.mktemp("golden")
    cases = [list_good_pictures(number)[number] for number in range(len(list_good_pictures(0)))]
    pictures = [case.make() for case in cases if "40 million" not in case.name]
    contents = {f"a/{number}.png": picture for number, picture in enumerate(pictures)}
    contents |= make_members({"b": 8, "c": 8})
    archive = write_zip(folder / "pictures.zip", list(contents.items()))
    run_ingest(
        IngestJob(archive=archive, limits=IngestLimits(), test_fraction=0.2),
        folder,
        should_stop=lambda: False,
        on_progress=lambda _: None,
    )
    return Corpus(contents, folder / OUT_DIR, read_index(folder / OUT_DIR / INDEX_FILE))


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A head that tells pictures apart: that of a random network hardly does."""
    state = make_state(3)
    return state | {"head.weight": 50 * state["head.weight"]}


@pytest.fixture(scope="module")
def evaluated(
    corpus: Corpus, state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> NDArray[np.float64]:
    """Log-probabilities (M, C), by the evaluation's way over the import cache."""
    card, everything = make_card(*CLASSES), np.ones(len(corpus.entries), dtype=np.bool_)
    source = CacheSource(corpus.dataset_dir, corpus.entries, card.preprocessing, everything, ~everything)
    cache = open_cache(tmp_path_factory.mktemp("pixels"), source, on_progress=lambda _: None)
    samples = make_sample_set([Placed(row, entry) for row, entry in enumerate(corpus.entries)], cache)
    classifier = Classifier(create_backbone(BACKBONE), num_features=describe().num_features, num_classes=3)
    classifier.load_state_dict(state)
    normalize = Normalizer(card.preprocessing, torch.device("cpu"))
    network = ExportedNetwork(classifier.eval())
    logits = compute_outputs(network, samples, normalize, on_batch=lambda: None).logits
    log_probabilities: NDArray[np.float64] = logits.double().log_softmax(dim=1).numpy()
    return log_probabilities


@pytest.fixture
def model_id(sessions: SessionFactory, storage: Storage, state: dict[str, torch.Tensor], tmp_path: Path) -> str:
    with sessions.begin() as session:
        return store_model(session, storage, tmp_path, make_card(*CLASSES), state)


def ask(client: httpx.Client, model_id: str, contents: list[bytes]) -> Iterator[list[float]]:
    """Log-probabilities by class, a few pictures in a request."""
    for start in range(0, len(contents), 4):
        files = [("files", content) for content in contents[start : start + 4]]
        answer = client.post(f"/models/{model_id}/predict", files=files)
        for prediction in answer.json()["predictions"]:
            by_label = {label["label"]: label["probability"] for label in prediction["labels"]}
            yield [float(np.log(by_label[name])) for name in CLASSES]


def test_predict_over_http_answers_what_the_evaluation_said(
    client: httpx.Client, model_id: str, corpus: Corpus, evaluated: NDArray[np.float64]
) -> None:
    contents = [corpus.contents[entry.path] for entry in corpus.entries]

    served = np.array(list(ask(client, model_id, contents)))

    assert len(served) > 60
    assert np.abs(served - evaluated).max() < 1e-4
    assert np.ptp(evaluated, axis=0).max() > 0.1  # else any picture would do


def test_predict_in_bf16_answers_nearly_the_same(
    api_settings: Settings, secret: str, model_id: str, corpus: Corpus, evaluated: NDArray[np.float64]
) -> None:
    contents = [corpus.contents[entry.path] for entry in corpus.entries]

    with (
        serve(api_settings.model_copy(update={"predict_precision": "bf16"})) as url,
        open_client(url, secret) as client,
    ):
        served = np.array(list(ask(client, model_id, contents)))

    probabilities = np.exp(evaluated)
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    is_tie = first - second < TIE
    agrees = served.argmax(axis=1) == evaluated.argmax(axis=1)
    assert 1e-5 < np.abs(np.exp(served) - probabilities).max() < 0.02  # another precision, and hardly another answer
    assert np.mean(agrees | is_tie) >= 0.995
    assert is_tie.mean() < 0.1

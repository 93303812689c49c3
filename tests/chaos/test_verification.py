"""What a row promises is looked up in the store, byte by byte."""

import hashlib

import pytest
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Job, Model
from core.inference.model_card import CARD_FILE, WEIGHTS_FILE
from core.storage import Storage
from core.storage_keys import model_prefix
from tests.chaos.verification import find_damaged, find_missing, find_surplus
from tests.factories import make_dataset, make_job, make_project

FILES = {WEIGHTS_FILE: b"weights", CARD_FILE: b"card"}


@pytest.fixture
def job(session: Session) -> Job:
    dataset = make_dataset(session, project_id=make_project(session), ready=False)
    return make_job(session, project_id=dataset.project_id, dataset=dataset)


@pytest.fixture
def prefix(session: Session, job: Job, direct: Storage) -> str:
    """Of a model that is stored as its row says."""
    direct.delete_prefix("models/")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    model = Model(
        id="model_a",
        project_id=job.project_id,
        job_id=job.id,
        attempt=1,
        weights_sha256=sums[WEIGHTS_FILE],
        weights_size_bytes=7,
        card_sha256=sums[CARD_FILE],
        card_size_bytes=4,
        card={},
    )
    session.add(model)
    session.commit()
    for name, content in FILES.items():
        direct.put_bytes(model_prefix(model.id) + name, content)
    return model_prefix(model.id)


def test_whole_model_is_well(sessions: SessionFactory, direct: Storage, prefix: str) -> None:
    assert list(find_damaged(sessions, direct)) == []


@pytest.mark.parametrize("name", FILES)
def test_other_bytes_are_found(sessions: SessionFactory, direct: Storage, job: Job, prefix: str, name: str) -> None:
    direct.put_bytes(prefix + name, b"other")

    (damage,) = find_damaged(sessions, direct)

    assert damage.job_id == job.id
    assert name in damage.text


@pytest.mark.parametrize("name", FILES)
def test_lost_bytes_are_found(sessions: SessionFactory, direct: Storage, prefix: str, name: str) -> None:
    direct.delete_keys([prefix + name])

    assert len(list(find_damaged(sessions, direct))) == 1
    assert prefix + name in {damage.text.split()[1] for damage in find_missing(sessions, direct)}


def test_bytes_too_many_are_found(sessions: SessionFactory, direct: Storage, prefix: str) -> None:
    direct.put_bytes(prefix + "more", b"x")

    assert f"object {prefix}more" in list(find_surplus(sessions, direct))

"""What the store holds and no row needs: on the real store and database."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from core.datasets import delete_dataset
from core.db.session import SessionFactory
from core.db.tables import Attempt, Checkpoint, Dataset, Job, Model, Run, Upload
from core.ids import make_id
from core.jobs import delete_job
from core.models import delete_model
from core.orphans import delete_orphan, find_orphans
from core.runs import claims, lifecycle
from core.runs.types import Claim
from core.storage import PART_BYTES, Storage
from core.storage_keys import (
    ORPHAN_ROOTS,
    UPLOAD_ROOTS,
    backbone_key,
    checkpoint_prefix,
    dataset_attempt_prefix,
    doctor_key,
    log_segment_key,
    metric_segment_key,
    model_prefix,
    upload_prefix,
)
from core.uploads import abandon_upload, start_upload
from tests.factories import claim_run, make_dataset, make_job, make_project


@pytest.fixture(autouse=True)
def empty_store(storage: Storage) -> Iterator[None]:
    for root in UPLOAD_ROOTS:
        storage.delete_prefix(root)
    yield
    for root in UPLOAD_ROOTS:
        storage.delete_prefix(root)


def find(storage: Storage, sessions: SessionFactory, *, min_age_hours: float = 0) -> set[str]:
    """Keys that would go, and the prefixes of unfinished uploads."""
    orphans = list(find_orphans(storage, sessions, min_age_hours=min_age_hours))
    return {key for orphan in orphans for key in orphan.keys or [orphan.prefix]}


def put(storage: Storage, *keys: str) -> None:
    for key in keys:
        storage.put_bytes(key, b"x")


def leave_unfinished(storage: Storage, key: str) -> None:
    """As a process that is killed between two parts."""
    storage.open_upload(key).write(b"x" * (PART_BYTES + 1))


def make_ready_dataset(session: Session) -> Dataset:
    return make_dataset(session, project_id=make_project(session))


def start_job(session: Session) -> tuple[Job, Claim]:
    dataset = make_ready_dataset(session)
    job = make_job(session, project_id=dataset.project_id, dataset=dataset)
    return job, claim_run(session)


def save_checkpoint(session: Session, job: Job, *, attempt: int, step: int) -> str:
    row = Checkpoint(
        id=make_id("ckpt"),
        project_id=job.project_id,
        job_id=job.id,
        attempt=attempt,
        step=step,
        epoch=1,
        is_best=False,
        manifest_sha256="a" * 64,
        size_bytes=1,
        metrics={},
    )
    session.add(row)
    session.flush()
    return checkpoint_prefix(job.id, attempt, step) + "manifest.json"


def end(session: Session, held: Claim) -> None:
    claims.succeed(session, held)
    session.commit()


def publish(session: Session, job: Job) -> Model:
    model = Model(
        id=make_id("model"),
        project_id=job.project_id,
        job_id=job.id,
        attempt=1,
        weights_sha256="a" * 64,
        weights_size_bytes=1,
        card_sha256="a" * 64,
        card_size_bytes=1,
        card={},
    )
    session.add(model)
    session.flush()
    return model


def test_objects_that_no_row_knows_are_orphans(storage: Storage, sessions: SessionFactory) -> None:
    keys = {
        upload_prefix("upload_x") + "archive",
        dataset_attempt_prefix("ds_x", 1) + "shards/0.tar",
        checkpoint_prefix("job_x", 1, 10) + "weights.safetensors",
        metric_segment_key("job_x", 1, 1),
        log_segment_key("job_x", 1, 1),
        "jobs/job_x/note",
        model_prefix("model_x") + "exports/model.onnx",
        doctor_key("x"),
    }
    put(storage, *keys)

    assert find(storage, sessions) == keys


def test_what_no_rule_covers_stays(storage: Storage, sessions: SessionFactory) -> None:
    put(storage, backbone_key("resnet18", "a" * 64), "datasets/odd", "foreign/object")

    assert find(storage, sessions) == set()
    storage.delete_keys(["foreign/object"])


def test_young_objects_are_never_named(storage: Storage, sessions: SessionFactory) -> None:
    put(storage, metric_segment_key("job_x", 1, 1))
    leave_unfinished(storage, upload_prefix("upload_x") + "archive")

    assert find(storage, sessions, min_age_hours=1) == set()


def test_nothing_of_a_running_attempt_is_an_orphan(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    job, held = start_job(session)
    session.commit()
    put(
        storage,
        checkpoint_prefix(job.id, held.attempt, 10) + "weights.safetensors",
        metric_segment_key(job.id, held.attempt, 1),
        log_segment_key(job.id, held.attempt, 1),
        model_prefix("model_about_to_be_published") + "weights.safetensors",
    )
    leave_unfinished(storage, checkpoint_prefix(job.id, held.attempt, 20) + "weights.safetensors")
    leave_unfinished(storage, model_prefix("model_about_to_be_published") + "model.json")

    assert find(storage, sessions) == set()


def test_checkpoints_of_an_ended_attempt_stay_if_they_have_a_row(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    job, held = start_job(session)
    kept = save_checkpoint(session, job, attempt=held.attempt, step=10)
    lost = checkpoint_prefix(job.id, held.attempt, 20) + "manifest.json"
    put(storage, kept, lost)
    end(session, held)

    assert find(storage, sessions) == {lost}


@pytest.mark.parametrize("ends", ["paused", "queued"])
def test_kept_checkpoints_of_a_job_that_goes_on_later_stay(
    storage: Storage, session: Session, sessions: SessionFactory, ends: str
) -> None:
    job, held = start_job(session)
    kept = save_checkpoint(session, job, attempt=held.attempt, step=10)
    put(storage, kept)
    if ends == "paused":
        lifecycle.request_pause(session, job.run_id)
        claims.stop_paused(session, held)
    else:
        claims.hand_back(session, held, "its worker shuts down")
    session.commit()

    assert session.get_one(Run, job.run_id).status == ends
    assert find(storage, sessions) == set()


def test_segments_beyond_those_counted_are_orphans(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    job, held = start_job(session)
    attempt = session.get_one(Attempt, (held.run_id, held.attempt))
    attempt.metric_segments, attempt.log_segments = 10, 0
    uncounted = {metric_segment_key(job.id, held.attempt, 11), log_segment_key(job.id, held.attempt, 1)}
    put(storage, metric_segment_key(job.id, held.attempt, 2), metric_segment_key(job.id, held.attempt, 10), *uncounted)
    end(session, held)

    assert find(storage, sessions) == uncounted


def test_objects_of_another_attempt_than_the_one_that_was_kept_are_orphans(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    dataset = make_ready_dataset(session)
    session.commit()
    zombie = dataset_attempt_prefix(dataset.id, 2) + "index.jsonl.gz"
    put(storage, dataset_attempt_prefix(dataset.id, 1) + "index.jsonl.gz", zombie)

    assert find(storage, sessions) == {zombie}


def test_upload_stays_until_its_import_has_ended(storage: Storage, session: Session, sessions: SessionFactory) -> None:
    dataset = make_dataset(session, project_id=make_project(session), ready=False)
    session.commit()
    archive = upload_prefix(dataset.upload_id) + "archive"
    put(storage, archive)
    assert find(storage, sessions) == set()

    end(session, claim_run(session, queue="imports"))

    assert find(storage, sessions) == {archive}


def make_upload(session: Session, *, lifetime_hours: float) -> Upload:
    upload = start_upload(session, project_id=make_project(session), filename="a.zip", lifetime_hours=lifetime_hours)
    session.commit()
    return upload


def test_upload_that_expired_is_an_orphan(storage: Storage, session: Session, sessions: SessionFactory) -> None:
    upload = make_upload(session, lifetime_hours=0)
    put(storage, upload.storage_key)

    assert find(storage, sessions) == {upload.storage_key}


def test_upload_that_may_still_become_a_dataset_stays(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    """Whatever the age of its parts: its lifetime may be longer than a day."""
    completed, pending = make_upload(session, lifetime_hours=1), make_upload(session, lifetime_hours=1)
    put(storage, completed.storage_key)
    leave_unfinished(storage, pending.storage_key)

    assert find(storage, sessions) == set()


def test_model_litter_is_named_once_the_attempt_that_may_publish_it_has_ended(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    job, held = start_job(session)
    session.commit()
    litter = model_prefix("model_x") + "weights.safetensors"
    put(storage, litter)
    assert find(storage, sessions) == set()

    published = publish(session, job)
    put(storage, model_prefix(published.id) + "weights.safetensors")
    end(session, held)

    assert find(storage, sessions) == {litter}


def test_attempt_that_started_later_keeps_no_model_litter(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    litter = model_prefix("model_x") + "weights.safetensors"
    put(storage, litter)
    _, held = start_job(session)
    session.get_one(Attempt, (held.run_id, held.attempt)).started_at += timedelta(hours=1)
    session.commit()

    assert find(storage, sessions) == {litter}


def test_what_was_written_after_the_deletion_of_its_row_is_an_orphan(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    job, held = start_job(session)
    model = publish(session, job)
    late = {
        save_checkpoint(session, job, attempt=1, step=10),
        metric_segment_key(job.id, 1, 1),
        dataset_attempt_prefix(job.dataset_id, 1) + "index.jsonl.gz",
        model_prefix(model.id) + "weights.safetensors",
    }
    claims.succeed(session, held)
    delete_model(session, job.project_id, model.id)
    delete_job(session, job.project_id, job.id)
    delete_dataset(session, job.project_id, job.dataset_id)
    session.commit()
    put(storage, *late)

    assert find(storage, sessions) == late


def test_abandoned_upload_is_an_orphan(storage: Storage, session: Session, sessions: SessionFactory) -> None:
    upload = make_upload(session, lifetime_hours=1)
    abandon_upload(session, upload.id)
    session.commit()
    put(storage, upload.storage_key)

    assert find(storage, sessions) == {upload.storage_key}


def test_unfinished_upload_below_a_kept_prefix_is_an_orphan(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    job, held = start_job(session)
    model = publish(session, job)
    weights = model_prefix(model.id) + "weights.safetensors"
    put(storage, weights)
    leave_unfinished(storage, weights)
    leave_unfinished(storage, backbone_key("resnet18", "a" * 64))
    end(session, held)

    orphans = list(find_orphans(storage, sessions, min_age_hours=0))

    assert {(orphan.prefix, len(orphan.keys), len(orphan.uploads)) for orphan in orphans} == {
        (weights, 0, 1),
        (backbone_key("resnet18", "a" * 64), 0, 1),
    }


def test_deletion_takes_what_was_found_and_nothing_else(storage: Storage, sessions: SessionFactory) -> None:
    prefix = dataset_attempt_prefix("ds_x", 1)
    put(storage, prefix + "shards/0.tar")
    leave_unfinished(storage, prefix + "shards/1.tar")
    orphans = list(find_orphans(storage, sessions, min_age_hours=0))
    put(storage, prefix + "came-since")

    for orphan in orphans:
        delete_orphan(storage, orphan)

    assert [key for root in ORPHAN_ROOTS for key in storage.list_keys(root)] == [prefix + "came-since"]
    assert list(storage.list_uploads(prefix)) == []


def test_row_that_appears_while_the_store_lists_is_seen(
    storage: Storage, session: Session, sessions: SessionFactory
) -> None:
    put(storage, "datasets/ds_a/1/a", *(f"datasets/ds_b/{n}/a" for n in range(1, 3)))
    orphans = find_orphans(storage, sessions, min_age_hours=0)
    assert next(orphans).prefix == "datasets/ds_a/1/"
    dataset = make_ready_dataset(session)
    dataset.id = "ds_b"
    session.commit()

    assert {orphan.prefix for orphan in orphans} == {"datasets/ds_b/2/"}

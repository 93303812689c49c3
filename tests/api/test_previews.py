import gzip

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import speeds
from core.dataset_index import INDEX_FILE, IndexEntry, Split
from core.datasets import ClassCounts
from core.db.session import SessionFactory
from core.db.tables import Dataset, Job, Run
from core.keys import ensure_project
from core.quotas import QuotaName, set_quota
from core.runs import lifecycle
from core.runs.types import RunKind
from core.storage import Storage
from core.storage_keys import dataset_attempt_prefix
from core.trainer_protocol import Speed
from tests.factories import claim_run, make_backbone, make_dataset

SPLITS: dict[Split, int] = {"train": 30, "val": 6, "test": 4}


@pytest.fixture
def dataset_id(sessions: SessionFactory, storage: Storage) -> str:
    """36 intact cells and four cracked ones."""
    with sessions.begin() as session:
        make_backbone(session)
        dataset = make_dataset(session, project_id=ensure_project(session))
        dataset.classes = [
            ClassCounts(name=name, train=0, val=0, test=0).model_dump() for name in ("intact", "cracked")
        ]
    splits: list[Split] = [split for split, count in SPLITS.items() for _ in range(count)]
    entries = [make_entry(number, split) for number, split in enumerate(splits)]
    lines = b"".join(entry.model_dump_json().encode() + b"\n" for entry in entries)
    storage.put_bytes(dataset_attempt_prefix(dataset.id, dataset.attempt or 0) + INDEX_FILE, gzip.compress(lines))
    return dataset.id


def make_entry(number: int, split: Split) -> IndexEntry:
    return IndexEntry(
        sample_id=str(number),
        shard="0.tar",
        offset=0,
        size_bytes=1,
        label=int(number % 10 == 9),
        split=split,
        width=8,
        height=8,
        sha256="a" * 64,
        path=f"{number}.png",
        duplicate_group=str(number),
    )


def count_rows(session: Session) -> int:
    rows = [*session.scalars(select(Job)), *session.scalars(select(Dataset))]
    return len([*rows, *session.scalars(select(Run).where(Run.kind != RunKind.PROBE))])


def test_validate_resolves_advises_and_creates_nothing(
    client: httpx.Client, sessions: SessionFactory, dataset_id: str
) -> None:
    with sessions() as session:
        before = count_rows(session)

    answer = client.post("/jobs/validate", params={"wait": 0}, json={"dataset_id": dataset_id, "backbone": "tiny"})

    preview = answer.json()
    assert answer.status_code == 200, answer.text
    assert (preview["resolved_spec"]["training"]["batch_size"], preview["resolved_spec"]["backbone_sha256"]) == (
        30,
        "a" * 64,
    )
    codes = [warning["code"] for warning in preview["warnings"]]
    assert codes == ["no_worker", "few_validation_samples", "few_test_samples", "imbalanced"]
    assert (preview["estimate"], preview["estimate_status"]) == (None, "probing")
    with sessions() as session:
        assert count_rows(session) == before


@pytest.mark.parametrize(
    ("body", "is_advised"),
    [
        ({"method": {"type": "bi_tuning", "temperature": 0.07}}, True),
        ({"method": {"type": "bi_tuning", "temperature": 0.07}, "training": {"batch_norm": "batch"}}, False),
        ({"preset": "paper"}, False),
        ({"preset": "paper", "training": {"batch_norm": "pretrained"}}, True),
        ({"method": {"type": "vanilla"}}, False),
        ({}, False),
    ],
)
def test_validate_advises_against_a_sharp_temperature_with_kept_statistics(
    client: httpx.Client, dataset_id: str, body: dict[str, object], *, is_advised: bool
) -> None:
    asked = {"dataset_id": dataset_id, "backbone": "tiny", **body}

    answer = client.post("/jobs/validate", params={"wait": 0}, json=asked)

    assert answer.status_code == 200, answer.text
    hints = [warning["hint"] for warning in answer.json()["warnings"] if warning["code"] == "sharp_temperature"]
    assert hints == ["set `method.temperature` to 0.5, or `training.batch_norm` to `batch`"] * is_advised


def test_mistake_in_the_query_is_named_though_there_is_a_body(client: httpx.Client, dataset_id: str) -> None:
    answer = client.post("/jobs/validate", params={"wait": "soon"}, json={"dataset_id": dataset_id, "backbone": "tiny"})

    assert (answer.status_code, answer.json()["param"]) == (422, "wait")


def test_probe_beyond_the_queue_is_refused(client: httpx.Client, sessions: SessionFactory, dataset_id: str) -> None:
    with sessions.begin() as session:
        set_quota(session, ensure_project(session), QuotaName.QUEUED_JOBS, 0)

    answer = client.post("/jobs/validate", params={"wait": 0}, json={"dataset_id": dataset_id, "backbone": "tiny"})

    assert (answer.status_code, answer.json()["code"]) == (429, "quota_queued_jobs")


def test_measured_speed_gives_an_estimate_at_once(
    client: httpx.Client, sessions: SessionFactory, dataset_id: str
) -> None:
    body = {"dataset_id": dataset_id, "backbone": "tiny"}
    client.post("/jobs/validate", params={"wait": 0}, json=body)
    with sessions.begin() as session:
        speed = Speed(seconds_per_step=2, seconds_per_picture=0, seconds_beside=1, device="CPU")
        speeds.record_probe(session, claim_run(session), speed)

    estimate = client.post("/jobs/validate", params={"wait": 0}, json=body).json()["estimate"]

    assert estimate["seconds"] == 2 * estimate["total_steps"] + 1


def test_dataset_that_is_not_imported_cannot_be_resolved(client: httpx.Client, dataset_id: str) -> None:
    body = {"dataset_url": "https://example.com/cells.zip", "backbone": "tiny"}

    preview = client.post("/jobs/validate", json=body).json()

    assert (preview["resolved_spec"], preview["estimate_status"]) == (None, "unavailable")
    assert preview["warnings"][-1]["code"] == "dataset_not_imported"


BAD_BODIES = {
    "typo": ({"training": {"learning_rte": 0.1}}, 422, "unknown_field"),
    "unknown backbone": ({"backbone": "resnet51"}, 422, "unknown_backbone"),
    "unknown dataset": ({"dataset_id": "ds_nothing"}, 404, "dataset_not_found"),
    "unknown class": ({"training": {"class_weights": {"craked": 2}}}, 422, "unknown_class"),
    "uneven batch": ({"gpus": 5, "training": {"batch_size": 48}}, 422, "batch_size_uneven"),
    "no dataset": ({"dataset_id": None}, 422, "dataset_required"),
}


@pytest.mark.parametrize(("change", "status", "code"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_what_cannot_run_is_refused(
    client: httpx.Client, dataset_id: str, change: dict[str, object], status: int, code: str
) -> None:
    body = {"dataset_id": dataset_id, "backbone": "tiny"} | change

    answer = client.post("/jobs/validate", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_dataset_whose_import_failed_is_refused_as_by_a_job(client: httpx.Client, sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        make_backbone(session)
        dataset = make_dataset(session, project_id=ensure_project(session), ready=False)
        lifecycle.request_cancel(session, dataset.run_id)
    body = {"dataset_id": dataset.id, "backbone": "tiny"}

    answers = [client.post(path, json=body) for path in ("/jobs", "/jobs/validate")]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "dataset_failed")] * 2


def test_dataset_of_another_project_is_not_there(stranger: httpx.Client, dataset_id: str) -> None:
    answer = stranger.post("/jobs/validate", json={"dataset_id": dataset_id, "backbone": "tiny"})

    assert answer.status_code == 404


def test_job_schema_tells_every_field_and_backbone(client: httpx.Client, dataset_id: str) -> None:
    schema = client.get("/job-schema").json()

    fields = {field["name"]: field for field in schema["fields"]}
    assert {"backbone", "seed", "training.early_stopping.patience", "method.temperature"} <= fields.keys()
    epochs = fields["training.epochs"]
    assert (epochs["type"], epochs["default"], epochs["minimum"], epochs["maximum"]) == (
        'integer or "auto"',
        "auto",
        1,
        10_000,
    )
    assert fields["training.sampling"]["choices"] == ["shuffled", "balanced"]
    assert [name for name, field in fields.items() if not field["description"]] == []
    (backbone,) = schema["backbones"]
    assert (backbone["name"], backbone["num_parameters"], backbone["weights_at_hand"]) == ("tiny", 3_000_000, False)

"""Reports, samples and thumbnails over HTTP, of a dataset that the real import process made."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from core.db.session import SessionFactory
from core.db.tables import Dataset
from core.ingest.child import IngestResult
from core.keys import ensure_project
from core.sample_table import RECORD
from core.settings import Settings
from core.storage import Storage
from core.storage_keys import dataset_attempt_prefix
from tests.factories import make_dataset
from tests.imported import import_archive, store_dataset
from tests.pictures import encode, make_members, make_picture

Json = dict[str, Any]  # answers of the API

HALF = encode(make_picture(1), "JPEG")[:600]
BAD = [(f"cat/bad-{number:03d}.jpg", HALF) for number in range(25)]
COPIES = [(f"dog/copy-{number}.png", encode(make_picture(77))) for number in range(3)]
NUM_SAMPLES = 73
MEMBERS = [*make_members({"cat": 40, "dog": 30}, size=(160, 120)), *COPIES, *BAD]


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage.from_settings(settings)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> IngestResult:
    return import_archive(tmp_path_factory.mktemp("imported"), MEMBERS)


@pytest.fixture
def dataset_id(sessions: SessionFactory, storage: Storage, imported: IngestResult) -> str:
    return store_dataset(sessions, storage, imported)


def get(client: httpx.Client, path: str, **params: object) -> Json:
    answer = client.get(path, params={name.rstrip("_"): str(value) for name, value in params.items()})
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def walk(client: httpx.Client, path: str, *, limit: int, **params: object) -> list[Json]:
    found: list[Json] = []
    while True:
        body = get(client, path, limit=limit, **params, **({"after": found[-1]["id"]} if found else {}))
        page = body.get("findings", body)
        found += page["data"]
        if not page["has_more"]:
            return found
        assert len(page["data"]) == limit


def test_report_counts_by_code_and_lists_in_pages(client: httpx.Client, dataset_id: str) -> None:
    path = f"/datasets/{dataset_id}/report"

    report = get(client, path, limit=4)

    assert report["summary"]["num_findings"]["image_truncated"] == 25
    assert next((group["code"], group["count"]) for group in report["codes"]) == ("image_truncated", 25)
    assert len(report["findings"]["data"]) == 4
    everything = walk(client, path, limit=4)
    assert [finding["path"] for finding in everything[:25]] == [name for name, _ in BAD]
    assert len(everything) == sum(group["num_listed"] for group in report["codes"])
    assert len({finding["id"] for finding in everything}) == len(everything)


def test_report_of_one_code_is_that_code_alone(client: httpx.Client, dataset_id: str) -> None:
    path = f"/datasets/{dataset_id}/report"

    (copies,) = walk(client, path, limit=9, code="duplicate_images")

    assert (copies["severity"], copies["num_related"], copies["path"]) == ("info", 2, "dog/copy-0.png")
    assert copies["sample_id"] is not None
    assert get(client, path, code="image_tiny")["findings"]["data"] == []


@pytest.mark.parametrize("after", ["x", "000000000001", "-00000000001", "\u0661" * 12])
def test_cursor_that_is_no_finding_is_refused(client: httpx.Client, dataset_id: str, after: str) -> None:
    answer = client.get(f"/datasets/{dataset_id}/report", params={"after": after})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_finding")


def test_cursor_behind_the_last_finding_is_an_empty_page(client: httpx.Client, dataset_id: str) -> None:
    report = get(client, f"/datasets/{dataset_id}/report", after="9" * 12)

    assert (report["findings"]["data"], report["findings"]["has_more"]) == ([], False)


def test_dataset_carries_the_summary_of_its_report(client: httpx.Client, dataset_id: str) -> None:
    summary = get(client, f"/datasets/{dataset_id}")["report"]

    assert summary == get(client, f"/datasets/{dataset_id}/report")["summary"]
    assert (summary["num_samples"], summary["num_left_out"]) == (NUM_SAMPLES, 25)


def test_samples_come_in_pages_without_gap_or_double(client: httpx.Client, dataset_id: str) -> None:
    samples = walk(client, f"/datasets/{dataset_id}/samples", limit=10)

    assert sorted(sample["path"] for sample in samples) == sorted(name for name, _ in MEMBERS if "bad" not in name)
    assert [sample["id"] for sample in samples] == sorted(sample["id"] for sample in samples)


def test_samples_by_class_split_and_finding(client: httpx.Client, dataset_id: str) -> None:
    path = f"/datasets/{dataset_id}/samples"
    samples = walk(client, path, limit=100)

    for params in ({"class": "dog"}, {"split": "test"}, {"class": "cat", "split": "train"}):
        expected = [sample for sample in samples if params.items() <= sample.items()]
        assert walk(client, path, limit=7, **params) == expected
    copies = walk(client, path, limit=2, finding="duplicate_images")
    assert {sample["path"] for sample in copies} == {name for name, _ in COPIES}
    assert get(client, path, finding="image_animated")["data"] == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"class": "bird"}, "unknown_class"),
        ({"split": "dev"}, "invalid_request"),
        ({"finding": "image_truncated"}, "invalid_request"),  # those were left out
        ({"after": "abc"}, "unknown_sample"),
        ({"limit": "101"}, "invalid_request"),
    ],
)
def test_bad_question_is_refused(client: httpx.Client, dataset_id: str, params: dict[str, str], code: str) -> None:
    answer = client.get(f"/datasets/{dataset_id}/samples", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_thumbnail_is_a_small_picture_and_nothing_else(client: httpx.Client, dataset_id: str) -> None:
    sample = get(client, f"/datasets/{dataset_id}/samples", limit=1, class_="cat")["data"][0]

    answer = client.get(sample["thumbnail_url"])

    thumbnail = Image.open(BytesIO(answer.content))
    original = Image.open(BytesIO(dict(MEMBERS)[sample["path"]]))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (80, 60))
    assert thumbnail.resize((1, 1)).getpixel((0, 0)) == pytest.approx(original.resize((1, 1)).getpixel((0, 0)), abs=9)
    assert not {"exif", "comment"} & set(thumbnail.info)


def test_thumbnail_cannot_be_taken_for_a_page(client: httpx.Client, dataset_id: str) -> None:
    sample = get(client, f"/datasets/{dataset_id}/samples", limit=1)["data"][0]

    headers = client.get(sample["thumbnail_url"]).headers

    assert headers["content-type"] == "image/jpeg"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["content-disposition"] == f'attachment; filename="{sample["id"]}.jpg"'
    assert headers["cache-control"] == "private, max-age=31536000, immutable"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_foreign_project_sees_nothing(client: httpx.Client, stranger: httpx.Client, dataset_id: str) -> None:
    sample = get(client, f"/datasets/{dataset_id}/samples", limit=1)["data"][0]

    for path in (f"/datasets/{dataset_id}/report", f"/datasets/{dataset_id}/samples", sample["thumbnail_url"]):
        answer = stranger.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


def test_sample_of_another_dataset_is_not_found(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, dataset_id: str, tmp_path: Path
) -> None:
    sample_id = get(client, f"/datasets/{dataset_id}/samples", limit=1)["data"][0]["id"]
    other = store_dataset(sessions, storage, import_archive(tmp_path, make_members({"a": 6, "b": 6})))

    for wanted in (sample_id, "0" * 32, "f" * 32, "x", "%2e%2e"):
        answer = client.get(f"/datasets/{other}/samples/{wanted}/thumbnail")
        assert (answer.status_code, answer.json()["code"]) == (404, "sample_not_found"), wanted


def test_dataset_that_is_not_ready_has_neither_report_nor_samples(
    client: httpx.Client, sessions: SessionFactory
) -> None:
    with sessions.begin() as session:
        dataset_id = make_dataset(session, project_id=ensure_project(session), ready=False).id

    for path in ("report", "samples", f"samples/{'0' * 32}/thumbnail"):
        answer = client.get(f"/datasets/{dataset_id}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_ready")


def test_dataset_of_an_earlier_version_says_what_to_do(client: httpx.Client, sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        dataset_id = make_dataset(session, project_id=ensure_project(session)).id

    answer = client.get(f"/datasets/{dataset_id}/samples")

    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_too_old")
    assert answer.json()["hint"] == "import the archive again"


def fill(content: bytes) -> bytes:
    return b"\xff" * len(content)


def break_splits(content: bytes) -> bytes:
    records = np.frombuffer(content, RECORD, count=NUM_SAMPLES).copy()
    records["split"] = 9
    return records.tobytes() + content[records.nbytes :]


@pytest.mark.parametrize("damage", [fill, break_splits])
def test_damaged_table_is_an_outage_and_no_answer(
    client: httpx.Client,
    sessions: SessionFactory,
    storage: Storage,
    dataset_id: str,
    damage: Callable[[bytes], bytes],
) -> None:
    """The process that wrote it read a stranger's archive."""
    with sessions.begin() as session:
        attempt = session.get_one(Dataset, dataset_id).attempt or 0
    key = dataset_attempt_prefix(dataset_id, attempt) + "samples.bin"
    storage.put_bytes(key, damage(storage.get_bytes(key)))

    answer = client.get(f"/datasets/{dataset_id}/samples")

    assert (answer.status_code, answer.json()["code"]) == (503, "object_corrupt")


def test_dataset_of_an_older_import_is_shown_without_its_findings(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, dataset_id: str
) -> None:
    with sessions.begin() as session:
        dataset = session.get_one(Dataset, dataset_id)
        dataset.report = {"layout": "a", "num_samples": 9, "num_left_out": 0, "num_ignored": 0, "num_findings": {}}
        dataset.files = [file for file in dataset.files or [] if file["name"] == "report.json"]
        storage.put_bytes(dataset_attempt_prefix(dataset.id, dataset.attempt or 0) + "report.json", b"{}")

    assert get(client, f"/datasets/{dataset_id}")["report"]["archive"] is None
    answer = client.get(f"/datasets/{dataset_id}/report")
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_too_old")

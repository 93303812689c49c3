from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

from core.settings import Settings
from core.storage import Storage
from tests.conditions import wait_until
from tests.end_to_end.service import Json, User
from tests.pictures import make_archive, make_members, write_zip


def upload(user: User, path: Path) -> httpx.Response:
    return user.client.post("/datasets", files={"file": (path.name, path.read_bytes())}, data={"name": path.stem})


def import_and_fail(user: User, path: Path) -> Json:
    answer = upload(user, path)
    assert answer.status_code == 202, answer.text
    dataset = user.wait_for_dataset(answer.json()["id"])
    assert dataset["status"] == "failed"
    return dataset


def test_upload_that_is_no_archive_is_refused_at_once(user: User, tmp_path: Path) -> None:
    path = tmp_path / "notes.zip"
    path.write_text("these are notes, not pictures")

    answer = upload(user, path)

    assert (answer.status_code, answer.json()["code"]) == (415, "not_an_archive")


def make_one_class(path: Path) -> Path:
    return make_archive(path, {"cat": 8})


def make_no_images(path: Path) -> Path:
    return write_zip(path, [("cat/a.txt", b"text"), ("dog/b.txt", b"text")])


def make_slip(path: Path) -> Path:
    return write_zip(path, [*make_members({"cat": 6, "dog": 6}), ("../evil.png", b"x")])


BAD_ARCHIVES = {"one class": make_one_class, "no images": make_no_images, "../ names": make_slip}


@pytest.mark.parametrize("make", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES.keys())
def test_bad_archive_fails_with_a_reason_and_leaves_nothing(
    user: User,
    service_settings: Settings,
    tmp_path: Path,
    make: Callable[[Path], Path],
) -> None:
    dataset = import_and_fail(user, make(tmp_path / "bad.zip"))

    assert dataset["error"]["owner"] in {"user", "data"}
    assert dataset["error"]["message"]
    assert dataset["error"]["hint"]
    storage = Storage.from_settings(service_settings)
    assert list(storage.list_keys(f"datasets/{dataset['id']}/")) == []
    upload_id = find_upload_id(service_settings, dataset["id"])
    wait_until(lambda: list(storage.list_keys(f"uploads/{upload_id}/")) == [], seconds=20)


def find_upload_id(settings: Settings, dataset_id: str) -> str:
    engine = create_engine(settings.database_url.get_secret_value())
    with engine.connect() as connection:
        found = connection.execute(
            text("select upload_id from datasets where id = :id"), {"id": dataset_id}
        ).scalar_one()
    engine.dispose()
    return str(found)


def test_job_on_a_url_that_is_no_archive_fails_with_the_reason(user: User, web: str) -> None:
    job = user.wait_for_end(user.post_job({"dataset_url": f"{web}/nothing-here.zip"}))

    assert job["status"] == "failed"
    assert job["status_reason"]["code"] == "dataset_failed"
    assert job["status_reason"]["owner"] == "data"


@pytest.mark.parametrize("url", ["https://10.0.0.1/a.zip", "http://169.254.169.254/latest", "https://localhost/a.zip"])
def test_private_address_is_never_fetched(user: User, url: str) -> None:
    answer = user.client.post("/datasets", json={"name": "a", "url": url})

    if answer.status_code == 202:  # a name is judged when it is resolved
        dataset = user.wait_for_dataset(answer.json()["id"])
        assert dataset["error"]["code"] == "url_not_allowed"
    else:
        assert (answer.status_code, answer.json()["code"]) == (422, "url_not_allowed")

import hashlib
from pathlib import Path

import httpx

from core.settings import Settings
from core.storage import Storage
from tests.end_to_end.service import User


def test_upload_in_parts_becomes_a_dataset(user: User, archive: Path) -> None:
    content = archive.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    upload = user.client.post(
        "/uploads", json={"filename": archive.name, "size_bytes": len(content), "sha256": sha256}
    ).json()
    for part in upload["parts"]:
        start = (part["number"] - 1) * upload["part_size_bytes"]
        httpx.put(part["url"], content=content[start : start + part["size_bytes"]], trust_env=False).raise_for_status()
    user.client.post(f"/uploads/{upload['id']}/complete").raise_for_status()

    created = user.client.post("/datasets", json={"name": "in-parts", "upload_id": upload["id"]})

    dataset = user.wait_for_dataset(created.json()["id"])
    assert (dataset["status"], dataset["num_samples"]) == ("ready", 60)
    assert (dataset["sha256"], dataset["size_bytes"]) == (sha256, len(content))


def test_object_of_a_listed_bucket_becomes_a_dataset(user: User, service_settings: Settings, archive: Path) -> None:
    lake = Storage.from_settings(service_settings).for_bucket("lake")
    lake.ensure_bucket()
    stored = lake.put_file("sets/cells.zip", archive)

    created = user.client.post("/datasets", json={"name": "lake", "url": "s3://lake/sets/cells.zip"})

    dataset = user.wait_for_dataset(created.json()["id"])
    assert (dataset["status"], dataset["sha256"]) == ("ready", stored.sha256)

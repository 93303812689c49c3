import base64
import hashlib
import json
import tarfile
from pathlib import Path

import httpx

from cli.demo.cells import Cell
from cli.demo.file_server import serve_folder
from tests.end_to_end.service import User

SPEC = {
    "method": {"type": "bi_tuning"},
    "training": {"epochs": 2, "image_size": 64, "batch_size": 16, "learning_rate": 0.02},
}


def test_job_by_url_ends_with_a_model_that_predicts(user: User, web: str, cells: list[list[Cell]]) -> None:
    job_id = user.post_job(SPEC | {"dataset_url": f"{web}/cells.zip", "name": "by-url"})

    job = user.wait_for_end(job_id)

    assert job["status"] == "succeeded", job["status_reason"]
    assert job["metrics"]["val_accuracy"] > 0
    assert job["resolved_spec"]["method"]["queue_size"] > 0
    answer = user.client.post(
        "/predict",
        data={"model": job_id},
        files=[("files", (cell.path.name, cell.path.read_bytes())) for cell in cells[1]],
    ).json()
    assert answer["model_id"] == job["model_id"]
    assert len(answer["predictions"]) == len(cells[1])
    for prediction in answer["predictions"]:
        assert {label["label"] for label in prediction["labels"]} == {"defective", "functional"}
        assert abs(sum(label["probability"] for label in prediction["labels"]) - 1) < 1e-4
        assert 0 <= prediction["unknown_score"] <= 2
        assert isinstance(prediction["is_unknown"], bool)
    model = user.client.get(f"/models/{job['model_id']}").json()
    assert (model["is_ready"], model["parity"]["agreement"]) == (True, 1)


def test_job_by_upload_leaves_all_that_it_promises(user: User, cells: list[list[Cell]], tmp_path: Path) -> None:
    archive = tmp_path / "cells.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for cell in cells[0]:
            tar.add(cell.path, f"my-cells/{cell.member_name}")
    dataset_id = user.client.post(
        "/datasets", files={"file": ("cells.tar.gz", archive.read_bytes())}, data={"name": "uploaded"}
    ).json()["id"]
    dataset = user.wait_for_dataset(dataset_id)
    assert (dataset["status"], dataset["num_samples"]) == ("ready", 60)
    assert [counts["name"] for counts in dataset["classes"]] == ["defective", "functional"]
    assert sum(counts["test"] for counts in dataset["classes"]) == 12

    job = user.wait_for_end(user.post_job(SPEC | {"dataset_id": dataset_id, "method": {"type": "vanilla"}}))

    assert job["status"] == "succeeded", job["status_reason"]
    events = user.client.get(f"/jobs/{job['id']}/events", params={"limit": 100}).json()["data"]
    assert [event["type"] for event in events if event["type"] != "checkpoint_saved"][:2] == ["queued", "started"]
    assert events[-1]["type"] == "succeeded"
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    series = user.client.get(f"/jobs/{job['id']}/metrics").json()
    assert [point["epoch"] for point in series["val_accuracy"]] == [1, 2]
    assert "training" in user.client.get(f"/jobs/{job['id']}/log").text
    model = user.client.get(f"/models/{job['model_id']}").json()
    assert model["classes"] == ["defective", "functional"]
    assert model["lineage"]["dataset_sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert user.client.get(f"/datasets/{dataset_id}/report").json()["summary"]["num_samples"] == 60


def test_downloads_are_what_their_hashes_say(user: User, dataset_id: str) -> None:
    job = user.wait_for_end(user.post_job(SPEC | {"dataset_id": dataset_id}))
    checkpoint = user.client.get(f"/jobs/{job['id']}/checkpoints").json()["data"][0]

    downloads = [f"/models/{job['model_id']}/download", f"/jobs/{job['id']}/checkpoints/{checkpoint['id']}/download"]

    for path in downloads:
        for part in user.client.get(path).json()["parts"]:
            content = httpx.get(part["url"], trust_env=False).content
            assert hashlib.sha256(content).hexdigest() == part["sha256"]
            assert len(content) == part["size_bytes"]


def test_every_kind_of_body_predicts_the_same(user: User, dataset_id: str, cells: list[list[Cell]]) -> None:
    model_id = user.wait_for_end(user.post_job(SPEC | {"dataset_id": dataset_id}))["model_id"]
    path = cells[1][0].path
    content = path.read_bytes()

    asked = {"model": model_id, "coverage": 0.9}

    with serve_folder(path.parent) as pictures:
        by_url = user.client.post("/predict", json=asked | {"images": [{"url": f"{pictures}/{path.name}"}]})
    answers = [
        by_url,
        user.client.post(f"/models/{model_id}/predict", files={"files": content}, data={"coverage": "0.9"}),
        user.client.post("/predict", json=asked | {"images": [{"b64": base64.b64encode(content).decode()}]}),
        user.client.post("/predict", params=asked, content=content, headers={"Content-Type": "image/png"}),
    ]

    predictions = [json.dumps(answer.json()["predictions"]) for answer in answers]
    (first,) = answers[0].json()["predictions"]
    assert first["prediction_set"][0] == first["top"]["label"]
    assert len(set(predictions)) == 1


def test_bad_pictures_spoil_only_their_own_entries(user: User, dataset_id: str, cells: list[list[Cell]]) -> None:
    job_id = user.wait_for_end(user.post_job(SPEC | {"dataset_id": dataset_id}))["id"]
    good = cells[1][0].path.read_bytes()

    answer = user.client.post(
        "/predict", data={"model": job_id, "top_k": "1"}, files=[("files", good), ("files", b"hello"), ("files", good)]
    )

    predictions = answer.json()["predictions"]
    assert predictions[1]["error"]["code"] == "image_format_unsupported"
    assert predictions[0] == predictions[2]
    assert len(predictions[0]["labels"]) == 1

    sent = {"b64": base64.b64encode(good).decode()}
    images = [sent, {"url": "https://10.0.0.1/a.png"}, {"url": "http://127.0.0.1:1/a.png"}, sent]
    answer = user.client.post("/predict", json={"model": job_id, "images": images})
    codes = [(item.get("error") or {}).get("code") for item in answer.json()["predictions"]]
    assert codes == [None, "url_not_allowed", "url_unreachable", None]


def test_deleted_model_is_gone_at_once(user: User, dataset_id: str, cells: list[list[Cell]]) -> None:
    model_id = user.wait_for_end(user.post_job(SPEC | {"dataset_id": dataset_id}))["model_id"]
    content = cells[1][0].path.read_bytes()
    assert user.client.post(f"/models/{model_id}/predict", files={"files": content}).status_code == 200

    assert user.client.delete(f"/models/{model_id}").status_code == 204

    assert user.client.post(f"/models/{model_id}/predict", files={"files": content}).status_code == 404

"""A probe on the real worker gives an estimate, and the job says how far off it was."""

import pytest

from tests.end_to_end.service import User

BODY = {
    "method": {"type": "bi_tuning", "projection_dim": 16},
    "training": {"epochs": 2, "image_size": 64, "batch_size": 12, "learning_rate": 0.02, "class_weights": "auto"},
}


def test_validate_tells_what_a_job_will_be_and_the_job_how_right_it_was(user: User, dataset_id: str) -> None:
    body = BODY | {"dataset_id": dataset_id}
    jobs_before = user.client.get("/jobs").json()["data"]

    preview = user.client.post("/jobs/validate", json=body, params={"wait": 60}, timeout=90).json()

    assert user.client.get("/jobs").json()["data"] == jobs_before
    assert preview["estimate_status"] == "measured", preview
    assert (preview["estimate"]["measured_by"], preview["estimate"]["total_steps"]) == ("probe", 6)
    assert "few_test_samples" in {warning["code"] for warning in preview["warnings"]}
    job = user.wait_for_end(user.post_job(body))
    assert job["status"] == "succeeded", job["status_reason"]
    assert {**job["resolved_spec"], "dataset_id": None} == {**preview["resolved_spec"], "dataset_id": None}
    estimate = job["estimate"]
    assert estimate["seconds"] == preview["estimate"]["seconds"]
    assert estimate["error"] == pytest.approx(estimate["actual_seconds"] / estimate["seconds"] - 1, abs=0.1)
    again = user.client.post("/jobs/validate", json=body).json()
    assert again["estimate"]["measured_by"] == "job"


def test_resolved_spec_posted_again_gives_the_same_model_and_evaluation(user: User, dataset_id: str) -> None:
    training = {"epochs": 2, "image_size": 64, "early_stopping": {"patience": 1}, "class_weights": "auto"}
    body = {"dataset_id": dataset_id, "training": training, "compare_to_baseline": True, "seed": 3}

    first = user.wait_for_end(user.post_job(body))
    assert first["status"] == "succeeded", first["status_reason"]
    second = user.wait_for_end(user.post_job(first["resolved_spec"]))

    assert second["resolved_spec"] == first["resolved_spec"]
    models = [user.client.get(f"/models/{job['model_id']}").json() for job in (first, second)]
    assert models[0]["weights_sha256"] == models[1]["weights_sha256"]
    check_evaluation(user, first["model_id"])


def check_evaluation(user: User, model_id: str) -> None:
    """For programs and for people."""
    evaluation = user.client.get(f"/models/{model_id}/evaluation").json()
    text = user.client.get(f"/models/{model_id}/evaluation", headers={"Accept": "text/plain"}).text

    assert (evaluation["split"], evaluation["num_samples"]) == ("test", 12)
    assert sum(map(sum, evaluation["confusion_matrix"])) == 12
    low, high = evaluation["accuracy_interval"]
    assert low <= evaluation["accuracy"] <= high
    assert [other["method"] for other in evaluation["comparisons"]] == ["vanilla", "linear_probe"]
    assert f"accuracy           {evaluation['accuracy']:7.1%}" in text
    assert "defective" in text
    assert max(len(line) for line in text.splitlines()) <= 120

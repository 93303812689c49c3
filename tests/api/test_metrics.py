"""`/metrics` over real HTTP, read as Prometheus reads it."""

import httpx
from prometheus_client import parser

from core import deletions
from core.db.session import SessionFactory
from core.keys import create_key, ensure_project
from core.runs import claims
from core.runs.types import FailureClass, RunKind, StatusReason
from core.workers import beat_worker, record_sweep
from tests.factories import claim_run, make_run, make_worker

Labels = frozenset[tuple[str, str]]


def scrape(client: httpx.Client) -> dict[str, dict[Labels, float]]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples: dict[str, dict[Labels, float]] = {}
    for family in parser.text_string_to_metric_families(answer.text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return samples


def labels(**values: str) -> Labels:
    return frozenset(values.items())


def test_key_that_may_not_administer_is_refused(api_url: str, sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        key = create_key(
            session, project_id=ensure_project(session), name="reader", scopes=("read", "write", "predict")
        )

    answer = httpx.get(f"{api_url}/metrics", headers={"Authorization": f"Bearer {key.secret}"}, trust_env=False)

    assert answer.status_code == 403
    assert httpx.get(f"{api_url}/metrics", trust_env=False).status_code == 401


def test_idle_service_shows_its_queues_without_workers(client: httpx.Client) -> None:
    samples = scrape(client)

    assert samples["bitune_online_workers"] == {labels(queue="imports"): 0, labels(queue="train"): 0}
    assert samples["bitune_pending_deletions"] == {labels(): 0}
    assert "bitune_sweep_age_seconds" not in samples


def test_queues_and_runs_are_shown(client: httpx.Client, sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        awaited = make_run(session, kind=RunKind.IMPORT)
        make_run(session, project_id=awaited.project_id, waits_for=awaited)
        for _ in range(3):
            make_run(session)
        reason = StatusReason(code="diverged", message="the loss is not finite", owner="user")
        claims.fail(session, claim_run(session), FailureClass.USER, reason)
        claim_run(session)

    samples = scrape(client)

    claimable = labels(queue="train", claimable="yes")
    assert samples["bitune_queued_runs"] == {
        claimable: 1,
        labels(queue="train", claimable="no"): 1,
        labels(queue="imports", claimable="yes"): 1,
    }
    assert 0 <= samples["bitune_longest_wait_seconds"][claimable] < 60
    assert samples["bitune_hint_age_seconds"].keys() == {labels(queue="train"), labels(queue="imports")}
    assert samples["bitune_running_runs"] == {labels(kind="train"): 1}
    assert samples["bitune_ended_runs_total"] == {labels(kind="train", status="failed"): 1}
    assert samples["bitune_failed_runs_total"] == {labels(kind="train", code="diverged"): 1}
    assert samples["bitune_attempts_total"] == {labels(outcome="failed"): 1}


def test_workers_and_their_sweep_are_shown(client: httpx.Client, sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        worker = make_worker(session, gpus=2)
        worker_id = worker.id
        beat_worker(session, worker, storage_errors=7)
        record_sweep(session, worker_id, seconds=0.5)
        deletions.schedule(session, "jobs/job_x/")

    samples = scrape(client)

    named = labels(worker=worker_id, queue="train")
    assert samples["bitune_online_workers"][labels(queue="train")] == 1
    assert 0 <= samples["bitune_worker_heartbeat_age_seconds"][named] < 60
    assert samples["bitune_worker_gpus"] == {named: 2}
    assert samples["bitune_sweep_seconds"] == {labels(): 0.5}
    assert 0 <= samples["bitune_sweep_age_seconds"][labels()] < 60
    assert samples["bitune_storage_errors_total"][labels(process=worker_id)] == 7
    assert labels(process="api") in samples["bitune_storage_errors_total"]
    assert samples["bitune_pending_deletions"] == {labels(): 1}

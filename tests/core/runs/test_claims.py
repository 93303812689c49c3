import threading
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Attempt, Run
from core.runs import claims, lifecycle
from core.runs.types import (
    BUDGET,
    MAX_LOSSES,
    Claim,
    FailureClass,
    GpuOffer,
    LostClaimError,
    RunKind,
    Signal,
    StatusReason,
)
from core.states import RunStatus
from tests.factories import LEASE_SECONDS, claim_run, make_project, make_run

REASON = StatusReason(code="broken", message="it broke", owner="system")


@pytest.mark.parametrize("kind", list(RunKind))
def test_claim_starts_the_first_attempt_of_every_kind(session: Session, kind: RunKind) -> None:
    run = make_run(session, kind=kind)

    held = claim_run(session, queue=run.queue)

    assert held == Claim(run_id=run.id, project_id=run.project_id, kind=kind, attempt=1)
    assert session.get_one(Run, run.id, populate_existing=True).status == RunStatus.RUNNING


def test_nothing_queued_gives_no_claim(session: Session) -> None:
    assert claims.claim(session, queue="train", worker_id="w", lease_seconds=1) is None


def test_claim_leaves_other_queues_alone(session: Session) -> None:
    make_run(session, kind=RunKind.IMPORT)

    assert claims.claim(session, queue="train", worker_id="w", lease_seconds=1) is None


def test_run_that_waits_for_another_is_not_eligible(session: Session) -> None:
    awaited = make_run(session, kind=RunKind.IMPORT)
    make_run(session, project_id=awaited.project_id, waits_for=awaited)

    assert claims.claim(session, queue="train", worker_id="w", lease_seconds=1) is None


def test_run_is_eligible_once_the_awaited_succeeded(session: Session) -> None:
    awaited = make_run(session, kind=RunKind.IMPORT)
    waiting = make_run(session, project_id=awaited.project_id, waits_for=awaited)
    claims.succeed(session, claim_run(session, queue="imports"))

    assert claim_run(session).run_id == waiting.id


def test_project_with_fewer_running_goes_first(session: Session) -> None:
    busy = make_project(session)
    make_run(session, project_id=busy)
    claim_run(session)
    make_run(session, project_id=busy)
    idle_run = make_run(session)

    assert claim_run(session).run_id == idle_run.id


def test_two_workers_never_claim_the_same_run(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        project_id = make_project(session)
        expected = {make_run(session, project_id=project_id).id for _ in range(20)}
    claimed: list[str] = []

    def work() -> None:
        while True:
            with sessions.begin() as session:
                held = claims.claim(session, queue="train", worker_id="w", lease_seconds=30)
            if held is None:
                return
            claimed.append(held.run_id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == sorted(expected)


def test_beat_renews_the_lease(session: Session) -> None:
    run = make_run(session)
    held = claim_run(session, lease_seconds=1)
    before = session.get_one(Run, run.id, populate_existing=True).lease_expires_at

    assert claims.beat(session, held, lease_seconds=LEASE_SECONDS) is Signal.GO_ON

    after = session.get_one(Run, run.id, populate_existing=True).lease_expires_at
    assert before is not None
    assert after is not None
    assert after > before


def test_beat_brings_the_cancel_flag(session: Session) -> None:
    run = make_run(session)
    held = claim_run(session)
    lifecycle.request_cancel(session, run.id)

    assert claims.beat(session, held, lease_seconds=LEASE_SECONDS) is Signal.CANCEL


def test_beat_says_when_the_time_is_up(session: Session) -> None:
    run = make_run(session)
    run.max_runtime_seconds = 0
    held = claim_run(session)

    assert claims.beat(session, held, lease_seconds=LEASE_SECONDS) is Signal.OUT_OF_TIME


WRITES = {
    "beat": lambda session, held: claims.beat(session, held, lease_seconds=1),
    "guard": claims.guard,
    "note": lambda session, held: claims.note(session, held, "note", "words"),
    "succeed": claims.succeed,
    "fail": lambda session, held: claims.fail(session, held, FailureClass.USER, REASON),
    "hand_back": lambda session, held: claims.hand_back(session, held, "words"),
    "stop_cancelled": claims.stop_cancelled,
    "stop_paused": claims.stop_paused,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_every_write_of_an_old_attempt_is_refused(session: Session, write) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a table of calls
    make_run(session)
    zombie = claim_run(session)
    claims.hand_back(session, zombie, "stopped")
    claim_run(session)

    with pytest.raises(LostClaimError):
        write(session, zombie)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_the_same_writes_of_the_present_attempt_are_taken(session: Session, write) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the control of the test above
    make_run(session)
    claims.hand_back(session, claim_run(session), "stopped")

    write(session, claim_run(session))


def test_handing_back_is_free(session: Session) -> None:
    run = make_run(session)
    for _ in range(BUDGET[FailureClass.WORKER_LOST] + 2):
        claims.hand_back(session, claim_run(session), "deploy")

    assert session.get_one(Run, run.id).failures == {}
    assert session.get_one(Run, run.id).status == RunStatus.QUEUED


def test_user_error_is_never_tried_again(session: Session) -> None:
    run = make_run(session)

    claims.fail(session, claim_run(session), FailureClass.USER, REASON)

    failed = session.get_one(Run, run.id)
    assert failed.status == RunStatus.FAILED
    assert failed.status_reason == REASON.model_dump()


def test_crash_is_tried_again_until_it_comes_every_time(session: Session) -> None:
    run = make_run(session)
    statuses = []
    for _ in range(MAX_LOSSES):
        run.run_after = run.created_at
        claims.fail(session, claim_run(session), FailureClass.CRASH, REASON)
        statuses.append(session.get_one(Run, run.id).status)

    assert statuses == [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.FAILED]
    assert run.status_reason == REASON.model_dump()


def test_crashes_with_checkpoints_between_them_end_at_the_budget(session: Session) -> None:
    run = make_run(session)
    for _ in range(BUDGET[FailureClass.CRASH] + 1):
        run.run_after = run.created_at
        held = claim_run(session)
        claims.forgive_losses(session, held)
        assert run.status == RunStatus.RUNNING
        claims.fail(session, held, FailureClass.CRASH, REASON)

    assert run.status == RunStatus.FAILED


@pytest.mark.parametrize(
    "end",
    [
        lambda session, held: claims.fail(session, held, FailureClass.CRASH, REASON),
        lambda session, held: claims.hand_back(session, held, "deploy"),
    ],
)
def test_cancel_that_was_asked_for_survives_the_end_of_the_attempt(session: Session, end) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a table of calls
    run = make_run(session)
    held = claim_run(session)
    lifecycle.request_cancel(session, run.id)

    end(session, held)

    assert run.status == RunStatus.CANCELLED


def test_waiting_and_pauses_do_not_count_as_runtime(session: Session) -> None:
    run = make_run(session)
    run.max_runtime_seconds = 60
    claims.hand_back(session, claim_run(session), "deploy")
    long_ago = timedelta(hours=1)
    first = session.get_one(Attempt, (run.id, 1))
    run.started_at = first.started_at = first.started_at - long_ago
    first.ended_at = first.started_at + timedelta(seconds=10)
    session.flush()

    held = claim_run(session)
    assert claims.beat(session, held, lease_seconds=LEASE_SECONDS) is Signal.GO_ON

    first.ended_at = first.started_at + timedelta(seconds=61)
    session.flush()
    assert claims.beat(session, held, lease_seconds=LEASE_SECONDS) is Signal.OUT_OF_TIME


def test_run_that_rests_after_an_outage_is_not_claimed(session: Session) -> None:
    make_run(session)
    claims.hand_back(session, claim_run(session), "no store", delay_seconds=30)

    assert claims.claim(session, queue="train", worker_id="w", lease_seconds=1) is None


@pytest.mark.parametrize(
    ("wanted", "offer", "taken"),
    [
        (0, GpuOffer(free=0, total=0), 0),
        (None, GpuOffer(free=0, total=0), 0),
        (None, GpuOffer(free=1, total=4), 1),
        (None, GpuOffer(free=0, total=4), None),
        (2, GpuOffer(free=2, total=4), 2),
        (4, GpuOffer(free=3, total=4), None),
        (1, GpuOffer(free=0, total=0), None),
        (0, GpuOffer(free=0, total=4), 0),
    ],
)
def test_run_is_claimed_where_its_gpus_are_free(
    session: Session, wanted: int | None, offer: GpuOffer, taken: int | None
) -> None:
    make_run(session, gpus=wanted)

    held = claims.claim(session, queue="train", worker_id="w", lease_seconds=1, gpus=offer)

    assert (None if held is None else held.gpus) == taken


def test_smaller_run_passes_one_that_does_not_fit(session: Session) -> None:
    make_run(session, gpus=4)
    small = make_run(session, gpus=1)

    held = claims.claim(session, queue="train", worker_id="w", lease_seconds=1, gpus=GpuOffer(free=1, total=4))

    assert held is not None
    assert held.run_id == small.id


def test_reserved_worker_takes_nothing_but_the_run_that_it_drains_for(session: Session) -> None:
    large, small = make_run(session, gpus=4), make_run(session, gpus=1)
    large.reserved_worker_id = "w"
    session.flush()

    def claim(worker_id: str, free: int) -> str | None:
        offer = GpuOffer(free=free, total=4)
        held = claims.claim(session, queue="train", worker_id=worker_id, lease_seconds=1, gpus=offer)
        return None if held is None else held.run_id

    assert claim("w", free=3) is None
    assert claim("other", free=1) == small.id
    assert claim("w", free=4) == large.id
    assert session.get_one(Run, large.id, populate_existing=True).reserved_worker_id is None


def test_each_attempt_has_its_outcome(session: Session) -> None:
    run = make_run(session)
    claims.hand_back(session, claim_run(session), "deploy")
    claims.succeed(session, claim_run(session))

    attempts = session.scalars(select(Attempt).where(Attempt.run_id == run.id).order_by(Attempt.number))
    assert [attempt.outcome for attempt in attempts] == ["requeued", "succeeded"]


def test_cancel_that_comes_while_a_pause_finishes_is_kept(session: Session) -> None:
    run = make_run(session)
    held = claim_run(session)
    lifecycle.request_pause(session, run.id)
    assert claims.beat(session, held, lease_seconds=LEASE_SECONDS) is Signal.PAUSE
    lifecycle.request_cancel(session, run.id)

    claims.stop_paused(session, held)

    assert run.status == RunStatus.CANCELLED
    assert session.get_one(Attempt, (run.id, 1)).outcome == "cancelled"

"""Who is watched is stopped in time."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.runs import claims
from core.runs.types import Claim, FailureClass, GpuOffer
from core.settings import Settings
from tests.conditions import wait_until
from tests.core.training.jobs import VANILLA, make_job, make_spec
from tests.factories import claim_run, make_run
from tests.worker.contexts import make_context
from worker.gpus import GpuPool
from worker.heartbeat import Heartbeat
from worker.outcomes import describe_stall
from worker.supervision import attended
from worker.trainer_process import TrainerProcess


def test_trainer_that_says_nothing_is_killed(
    session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    make_run(session)
    held = claim_run(session)
    session.commit()
    context = make_context(settings.model_copy(update={"stall_seconds": 0.2}), sessions, tmp_path)
    job = make_job(tmp_path, make_spec(VANILLA))
    process = TrainerProcess(tmp_path, job, devices=[], spares=context.spares, on_progress=lambda _: None)

    with Heartbeat(context, held) as beat, attended(process, context, beat):
        wait_until(lambda: not process.is_alive(), seconds=10)  # before it can say its first word

    assert process.has_stalled
    assert describe_stall(0.2).failure is FailureClass.CRASH


def test_gpu_of_a_trainer_that_cannot_be_killed_is_withheld(
    session: Session,
    settings: Settings,
    sessions: SessionFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that hangs in a driver: SIGKILL is sent, and nothing happens."""
    make_run(session, gpus=1)
    context = replace(
        make_context(settings.model_copy(update={"stall_seconds": 0.2}), sessions, tmp_path), gpus=GpuPool(["0"])
    )
    job = make_job(tmp_path, make_spec(VANILLA))

    def claim(offer: GpuOffer) -> Claim | None:
        held = claims.claim(session, queue="train", worker_id="worker_a", lease_seconds=30, gpus=offer)
        session.commit()
        return held

    with context.gpus.lend(claim) as loan:
        assert loan is not None
        kill = os.killpg
        monkeypatch.setattr("os.killpg", lambda *_: None)
        process = TrainerProcess(
            tmp_path, job, devices=[""], spares=context.spares, on_progress=lambda _: None, kill_seconds=0.5
        )
        with Heartbeat(context, loan.held) as beat, attended(process, context, beat):
            wait_until(lambda: not process.is_alive(), seconds=10)

    assert process.has_stalled
    assert process.is_stuck
    assert context.gpus.size == 0
    kill(process.pids[0], signal.SIGKILL)
    wait_until(lambda: not process.is_stuck, seconds=10)

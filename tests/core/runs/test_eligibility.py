import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Run
from core.ids import make_id
from core.quotas import QuotaName, set_quota
from core.runs import claims
from core.runs.eligibility import find_best, make_parameters, select_best
from core.runs.types import NO_GPUS, GpuOffer, RunKind
from core.states import RunStatus
from tests.factories import make_project, make_run

OFFER = GpuOffer(free=2, total=4)


def find_best_slowly(session: Session, offer: GpuOffer) -> str | None:
    """The twin: every run is looked at in Python."""
    runs = list(session.scalars(select(Run).execution_options(populate_existing=True)))
    running = [run.project_id for run in runs if run.status == RunStatus.RUNNING]
    fitting = [
        run for run in runs if run.status == RunStatus.QUEUED and (1 if run.gpus is None else run.gpus) <= offer.free
    ]
    order = sorted(fitting, key=lambda run: (-run.priority, running.count(run.project_id), run.id))
    return order[0].id if order else None


@pytest.mark.parametrize("seed", range(3))
def test_each_claim_takes_what_the_slow_twin_finds(session: Session, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a repeatable choice
    projects = [make_project(session) for _ in range(4)]
    for _ in range(30):
        run = make_run(session, project_id=random.choice(projects), gpus=random.choice([None, 0, 1, 2, 3]))
        run.priority = random.choice([0, 0, 1, 5])
    session.flush()

    while (expected := find_best_slowly(session, OFFER)) is not None:
        held = claims.claim(session, queue="train", worker_id="w", lease_seconds=30, gpus=OFFER)
        assert held is not None
        assert held.run_id == expected
    assert claims.claim(session, queue="train", worker_id="w", lease_seconds=30, gpus=OFFER) is None


@pytest.mark.parametrize("num_projects", [1, 200])
def test_no_worker_comes_back_empty_while_work_is_left(sessions: SessionFactory, num_projects: int) -> None:
    with sessions.begin() as session:
        projects = [make_project(session) for _ in range(num_projects)]
        expected = [make_run(session, project_id=projects[number % num_projects]).id for number in range(200)]
    claimed: list[str] = []
    successes_began: list[float] = []
    empty_ended: list[float] = []

    def work() -> None:
        while True:
            began = time.monotonic()
            with sessions.begin() as session:
                held = claims.claim(session, queue="train", worker_id="w", lease_seconds=30)
            if held is None:
                empty_ended.append(time.monotonic())
                return
            claimed.append(held.run_id)
            successes_began.append(began)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == sorted(expected)
    assert max(successes_began) < min(empty_ended)


def test_run_that_another_worker_is_taking_hides_no_other(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        expected = {make_run(session).id for _ in range(3)}

    with sessions() as first, sessions() as second, sessions() as third:
        found = [find_best(one, queue="train", worker_id="w", gpus=NO_GPUS) for one in (first, second, third)]

    assert {best.run_id for best in found if best is not None} == expected


def claim(session: Session, max_running: int | None = None, queue: str = "train") -> str | None:
    """The project that gets a turn."""
    held = claims.claim(session, queue=queue, worker_id="w", lease_seconds=30, max_running=max_running)
    return None if held is None else held.project_id


def test_project_that_runs_all_it_may_waits(session: Session) -> None:
    first, second = make_project(session), make_project(session)
    for project_id in (first, first, first, second):
        make_run(session, project_id=project_id)
    set_quota(session, first, QuotaName.RUNNING_JOBS, 2)

    assert [claim(session, max_running=1) for _ in range(4)] == [first, second, first, None]

    set_quota(session, first, QuotaName.RUNNING_JOBS, None)
    assert claim(session, max_running=1) == first


def test_imports_have_no_limit(session: Session) -> None:
    project_id = make_project(session)
    set_quota(session, project_id, QuotaName.RUNNING_JOBS, 0)
    make_run(session, kind=RunKind.IMPORT, project_id=project_id)

    assert claim(session, queue="imports") == project_id


def test_workers_side_by_side_never_run_more_than_a_project_may(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        projects = [make_project(session) for _ in range(3)]
        for number in range(60):
            make_run(session, project_id=projects[number % 3])
    claimed: list[str] = []

    def work(_: int) -> None:
        with sessions.begin() as session:
            if (project_id := claim(session, max_running=4)) is not None:
                claimed.append(project_id)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(60)))

    assert {project_id: claimed.count(project_id) for project_id in projects} == dict.fromkeys(projects, 4)


@pytest.mark.parametrize("num_finished", [0, 5000])
def test_plan_walks_the_index(session: Session, num_finished: int) -> None:
    project_id = make_project(session)
    run = {"project_id": project_id, "kind": "train", "queue": "train"}
    finished = [run | {"id": make_id("run"), "status": "succeeded"} for _ in range(num_finished)]
    queued = [run | {"id": make_id("run"), "status": "queued"} for _ in range(500)]
    session.execute(insert(Run), finished + queued)
    session.execute(text("analyze runs"))

    plan = explain(session)

    assert "ix_runs_queued" in plan
    assert "Seq Scan on runs" not in plan
    assert "Bitmap Heap Scan on runs" not in plan


def explain(session: Session) -> str:
    query = select_best().params(make_parameters(queue="train", worker_id="w", gpus=NO_GPUS))
    compiled = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
    return "\n".join(session.scalars(text(f"explain {compiled}")))

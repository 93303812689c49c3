import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import speeds
from core.db.tables import Run, SpeedMeasurement
from core.resolution import BackboneFacts, DatasetFacts, resolve
from core.runs import claims
from core.runs.types import LostClaimError, RunKind
from core.specs import OptimizationSpec, TrainingSpec
from core.speeds import Estimate, JobSize
from core.trainer_protocol import Speed
from tests.factories import claim_run, make_project, make_run

FACTS = DatasetFacts(class_counts={"a": 48, "b": 48}, val_samples=20, test_samples=30)
SPEED = Speed(seconds_per_step=0.5, seconds_per_picture=0.01, seconds_beside=3, device="CPU")


def make_size(**fields: object) -> JobSize:
    training = OptimizationSpec(epochs=4, batch_size=48)
    spec = TrainingSpec.model_validate({"training": training.model_dump()} | fields)
    return JobSize(resolve(spec, FACTS, BackboneFacts(sha256="a" * 64, image_size=64)), FACTS)


def measure_by_probe(session: Session, size: JobSize) -> None:
    speeds.request_probe(session, make_project(session), size)
    speeds.record_probe(session, claim_run(session), SPEED)


def test_nothing_measured_is_no_estimate(session: Session) -> None:
    assert speeds.find_estimate(session, make_size()) is None


def test_probe_gives_an_estimate(session: Session) -> None:
    measure_by_probe(session, make_size())

    estimate = speeds.find_estimate(session, make_size())

    assert estimate is not None
    assert estimate.total_steps == 8
    assert estimate.seconds == pytest.approx(8 * 0.5 + (4 * 20 + 30 + 20) * 0.01 + 3, abs=0.05)
    assert (estimate.measured_by, estimate.is_upper_bound) == ("probe", False)


def test_baselines_cost_as_many_steps_again(session: Session) -> None:
    assert make_size(compare_to_baseline=True).total_steps == 3 * make_size().total_steps


def test_speed_of_a_finished_job_serves_others_like_it(session: Session) -> None:
    make_run(session)
    speeds.record_job_speed(session, claim_run(session), make_size(), SPEED)

    estimate = speeds.find_estimate(session, make_size(seed=7))

    assert estimate is not None
    assert estimate.measured_by == "job"


@pytest.mark.parametrize(
    "other",
    [
        {"method": {"type": "vanilla"}},
        {"training": {"epochs": 4, "batch_size": 24}},
        {"training": {"epochs": 4, "batch_size": 48, "image_size": 96}},
        {"compare_to_baseline": True},
        {"gpus": 2},
    ],
)
def test_what_costs_otherwise_has_its_own_measurement(session: Session, other: dict[str, object]) -> None:
    measure_by_probe(session, make_size())

    assert speeds.find_estimate(session, make_size(**other)) is None


def test_probe_that_waits_is_not_asked_for_twice(session: Session) -> None:
    project_id = make_project(session)

    first, second = (speeds.request_probe(session, project_id, make_size()) for _ in range(2))

    assert first.id == second.id
    assert len(session.scalars(select(SpeedMeasurement)).all()) == 1


def test_probe_comes_before_jobs_that_wait(session: Session) -> None:
    make_run(session)
    speeds.request_probe(session, make_project(session), make_size())

    assert claim_run(session).kind is RunKind.PROBE


def test_probe_of_a_lost_claim_is_not_recorded(session: Session) -> None:
    run = speeds.request_probe(session, make_project(session), make_size())
    held = claim_run(session)
    claims.hand_back(session, held, "its worker shuts down")

    with pytest.raises(LostClaimError):
        speeds.record_probe(session, held, SPEED)
    assert session.get_one(Run, run.id).status == "queued"


def test_error_is_what_the_job_took_beyond_the_estimate() -> None:
    estimate = Estimate(seconds=10, total_steps=8, is_upper_bound=False, device="CPU", measured_by="probe")

    assert speeds.settle(estimate, 12.5).error == 0.25

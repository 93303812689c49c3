import pytest
from sqlalchemy.orm import Session

from core.errors import InvalidInputError
from core.jobs import create_job
from core.specs import TrainingSpec
from tests.factories import make_backbone, make_dataset, make_project, make_worker


def ask_for(session: Session, gpus: int, *, configured_gpus: int | None) -> None:
    project_id = make_project(session)
    create_job(
        session,
        project_id=project_id,
        spec=TrainingSpec(backbone=make_backbone(session).name, gpus=gpus),
        dataset_id=make_dataset(session, project_id=project_id).id,
        dataset_url=None,
        name=None,
        metadata={},
        configured_gpus=configured_gpus,
    )


@pytest.mark.parametrize(("seen", "configured"), [(None, None), (4, None), (None, 4), (2, 4), (4, 2)])
def test_job_that_some_worker_will_be_able_to_run_is_accepted(
    session: Session, seen: int | None, configured: int | None
) -> None:
    if seen is not None:
        make_worker(session, gpus=seen)

    ask_for(session, 4, configured_gpus=configured)


@pytest.mark.parametrize(("seen", "configured"), [(2, None), (None, 2), (2, 2), (None, 0)])
def test_job_that_no_worker_will_be_able_to_run_is_refused(
    session: Session, seen: int | None, configured: int | None
) -> None:
    if seen is not None:
        make_worker(session, gpus=seen)

    with pytest.raises(InvalidInputError, match="asks for 4 GPUs"):
        ask_for(session, 4, configured_gpus=configured)

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Attempt
from core.runs import claims
from core.runs.types import Claim, LostClaimError
from core.settings import Settings
from core.trainer_protocol import Metrics
from tests.factories import claim_run, make_run
from tests.worker.contexts import make_context
from worker.segments import SegmentWriter


@pytest.fixture
def held(session: Session) -> Claim:
    make_run(session)
    held = claim_run(session)
    session.commit()
    return held


@pytest.fixture
def writer(held: Claim, settings: Settings, sessions: SessionFactory, tmp_path: Path) -> SegmentWriter:
    log_path = tmp_path / "log"
    log_path.write_text("line\n")
    writer = SegmentWriter(make_context(settings, sessions, tmp_path), held, "job_a", log_path)
    writer.add(Metrics(step=1, epoch=1, values={"train_loss": 1.0}))
    return writer


def read_counts(session: Session, held: Claim) -> tuple[int, int]:
    attempt = session.get_one(Attempt, (held.run_id, held.attempt), populate_existing=True)
    return attempt.metric_segments, attempt.log_segments


def test_what_is_new_is_counted(writer: SegmentWriter, session: Session, held: Claim) -> None:
    writer.flush()
    writer.flush()

    assert read_counts(session, held) == (1, 1)


def test_count_that_failed_is_tried_again_with_nothing_new_to_store(
    writer: SegmentWriter, session: Session, held: Claim
) -> None:
    claims.hand_back(session, held, "stopped")
    session.commit()

    for _ in range(2):
        with pytest.raises(LostClaimError):  # so it did try to count
            writer.flush()

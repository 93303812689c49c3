"""What has to go when a run ends for good, whoever ends it."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core import deletions
from core.db.tables import Dataset, Run
from core.db.tenant_tables import ImportSource
from core.runs.types import RunKind
from core.states import RunStatus
from core.storage_keys import dataset_prefix, upload_prefix


def schedule_leftovers(session: Session, run: Run) -> None:
    """An import needs its upload and its URL no more, and one that did not succeed made no dataset."""
    if run.kind != RunKind.IMPORT:
        return
    dataset = session.scalar(select(Dataset).where(Dataset.run_id == run.id))
    if dataset is None:
        return
    session.execute(delete(ImportSource).where(ImportSource.run_id == run.id))
    deletions.schedule(session, upload_prefix(dataset.upload_id))
    if run.status != RunStatus.SUCCEEDED:
        deletions.schedule(session, dataset_prefix(dataset.id))

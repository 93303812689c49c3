"""Datasets on the wire."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from api.schemas.common import ApiModel, MetadataField, Name
from core.datasets import ClassCounts, DatasetState
from core.db.tables import Run
from core.ingest.progress import ImportProgress
from core.ingest.report import ReportSummary
from core.states import RunStatus

DatasetStatus = Literal["importing", "ready", "failed"]
_STATUS: dict[RunStatus, DatasetStatus] = {
    RunStatus.QUEUED: "importing",
    RunStatus.RUNNING: "importing",
    RunStatus.PAUSED: "importing",
    RunStatus.SUCCEEDED: "ready",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "failed",
}

TestFraction = Annotated[
    float, Field(ge=0, lt=1, description="Share kept for the final test, unless the archive has `test/`; 0 keeps none")
]


class DatasetFromUrl(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "cells", "url": "https://example.com/cells.zip", "test_fraction": 0.2}]
        }
    )

    name: Name
    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    test_fraction: TestFraction = 0.2
    metadata: MetadataField = {}


class DatasetFromUpload(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "cells", "upload_id": "upload_01k9ve5x3g7q8v5t2m6n4p8r0s"}]}
    )

    name: Name
    upload_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    test_fraction: TestFraction = 0.2
    metadata: MetadataField = {}


class DatasetForm(ApiModel):
    """The fields of a multipart upload, beside `file`."""

    name: Name
    test_fraction: TestFraction = 0.2


class ErrorOut(ApiModel):
    code: str
    message: str
    hint: str = ""
    owner: Literal["user", "data", "system"]
    retryable: bool


class DatasetOut(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "ds_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "object": "dataset",
                    "name": "cells",
                    "status": "ready",
                    "progress": None,
                    "size_bytes": 12_500_000,
                    "sha256": "9f" * 32,
                    "num_samples": 600,
                    "classes": [
                        {"name": "defective", "train": 149, "val": 0, "test": 37},
                        {"name": "functional", "train": 331, "val": 0, "test": 83},
                    ],
                    "error": None,
                    "report": {
                        "archive": "zip",
                        "layout": "classes and splits by the rows of labels.csv, inside 'cells'",
                        "recognised": {
                            "layout": "labels_file",
                            "wrapping_folder": "cells",
                            "labels_file": "labels.csv",
                            "given_splits": ["train", "test"],
                        },
                        "num_samples": 600,
                        "num_left_out": 2,
                        "num_ignored": 0,
                        "num_findings": {"image_truncated": 2, "near_duplicates": 14},
                    },
                    "source_url": None,
                    "test_fraction": 0.2,
                    "metadata": {},
                    "created_at": "2026-11-23T12:00:00Z",
                }
            ]
        }
    )

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    status: DatasetStatus
    progress: ImportProgress | None  # while it is being imported
    size_bytes: int | None  # of the archive, as is its SHA-256
    sha256: str | None
    num_samples: int | None
    classes: list[ClassCounts] | None
    error: ErrorOut | None
    report: ReportSummary | None
    source_url: str | None
    test_fraction: float
    metadata: dict[str, str]
    created_at: datetime


def render_dataset(state: DatasetState) -> DatasetOut:
    dataset, run = state
    return DatasetOut(
        id=dataset.id,
        name=dataset.name,
        status=_STATUS[RunStatus(run.status)],
        progress=_render_progress(run),
        size_bytes=dataset.archive_size_bytes,
        sha256=dataset.sha256,
        num_samples=dataset.num_samples,
        classes=None if dataset.classes is None else [ClassCounts.model_validate(item) for item in dataset.classes],
        error=None if run.status_reason is None else ErrorOut.model_validate(run.status_reason),
        report=None if dataset.report is None else ReportSummary.model_validate(dataset.report),
        source_url=dataset.source_url,
        test_fraction=dataset.test_fraction,
        metadata=dataset.details,
        created_at=dataset.created_at,
    )


def find_run_statuses(status: DatasetStatus) -> frozenset[RunStatus]:
    """Of the imports of such datasets."""
    return frozenset(run_status for run_status, shown in _STATUS.items() if shown == status)


def _render_progress(run: Run) -> ImportProgress | None:
    if run.status != RunStatus.RUNNING or run.progress is None:
        return None
    return ImportProgress.model_validate(run.progress)

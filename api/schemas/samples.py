"""Reports and samples of datasets on the wire."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.schemas.common import ApiModel, ListOf
from api.schemas.lists import render_list
from core.dataset_index import Split
from core.ingest.findings import FindingCode, SampleRef, Severity
from core.ingest.report import ReportSummary
from core.reports import ListedFinding, ReportPage
from core.sample_table import Sample, SampleFinding

FINDING_EXAMPLE: dict[str, Any] = {  # JSON
    "id": "000000000000",
    "code": "near_duplicates",
    "severity": "info",
    "path": "functional/cell0001.png",
    "sample_id": "4f1c6f0f6a0b4c52a9a54f1d33f0a7be",
    "message": "2 pictures look nearly the same",
    "hint": "splits made here keep them together; nothing needs to be done",
    "related": [{"sample_id": "a0c41b6d02ce4d1b8f10f4a44fd3c1b2", "path": "functional/cell0002.png"}],
    "num_related": 1,
}


class FindingOut(ApiModel):
    """`path` is the file, folder or class that it is about; `sample_id` is null where that is no sample."""

    model_config = ConfigDict(json_schema_extra={"examples": [FINDING_EXAMPLE]})

    id: str
    code: FindingCode
    severity: Severity
    path: str
    sample_id: str | None
    message: str
    hint: str
    related: list[SampleRef]  # the first of the others that it is about
    num_related: int


class FindingGroup(ApiModel):
    """All findings of one code; the first `num_listed` of them can be listed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "near_duplicates",
                    "severity": "info",
                    "hint": "splits made here keep them together; nothing needs to be done",
                    "count": 14,
                    "num_listed": 14,
                }
            ]
        }
    )

    code: FindingCode
    severity: Severity
    hint: str
    count: int
    num_listed: int


class ReportOut(ApiModel):
    """What the import found: in numbers, by code, and a page of the findings themselves."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset_report",
                    "dataset_id": "ds_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "summary": {
                        "archive": "zip",
                        "layout": "classes and splits by the rows of labels.csv, inside 'cells'",
                        "recognised": {
                            "layout": "labels_file",
                            "wrapping_folder": "cells",
                            "labels_file": "labels.csv",
                            "given_splits": ["train", "test"],
                        },
                        "num_samples": 600,
                        "num_left_out": 0,
                        "num_ignored": 0,
                        "num_findings": {"near_duplicates": 14},
                    },
                    "codes": [
                        {
                            "code": "near_duplicates",
                            "severity": "info",
                            "hint": "splits made here keep them together; nothing needs to be done",
                            "count": 14,
                            "num_listed": 14,
                        }
                    ],
                    "findings": {
                        "object": "list",
                        "data": [FINDING_EXAMPLE],
                        "has_more": True,
                        "first_id": "000000000000",
                        "last_id": "000000000000",
                    },
                }
            ]
        }
    )

    object: Literal["dataset_report"] = "dataset_report"
    dataset_id: str
    summary: ReportSummary
    codes: list[FindingGroup]
    findings: ListOf[FindingOut]


class SampleOut(ApiModel):
    """`findings` are the codes of the report that are about this sample."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "4f1c6f0f6a0b4c52a9a54f1d33f0a7be",
                    "object": "sample",
                    "path": "functional/cell0001.png",
                    "class": "functional",
                    "split": "train",
                    "width": 300,
                    "height": 300,
                    "size_bytes": 41_200,
                    "findings": ["near_duplicates"],
                    "thumbnail_url": (
                        "/datasets/ds_01k9ve5x3g7q8v5t2m6n4p8r0s/samples/4f1c6f0f6a0b4c52a9a54f1d33f0a7be/thumbnail"
                    ),
                }
            ]
        },
        populate_by_name=True,
    )

    id: str
    object: Literal["sample"] = "sample"
    path: str
    class_name: str = Field(alias="class")
    split: Split
    width: int
    height: int
    size_bytes: int
    findings: list[SampleFinding]
    thumbnail_url: str


def render_report(dataset_id: str, page: ReportPage) -> ReportOut:
    findings = [_render_finding(finding) for finding in page.findings]
    return ReportOut(
        dataset_id=dataset_id,
        summary=page.report.summary,
        codes=[
            FindingGroup.model_validate(section.model_dump(include=set(FindingGroup.model_fields)))
            for section in page.report.sections
        ],
        findings=render_list(findings, has_more=page.has_more),
    )


def _render_finding(listed: ListedFinding) -> FindingOut:
    return FindingOut.model_validate({"id": listed.id, **dict(listed.finding)})


def render_sample(dataset_id: str, classes: list[str], sample: Sample) -> SampleOut:
    return SampleOut(
        id=sample.sample_id,
        path=sample.path,
        class_name=classes[sample.label],
        split=sample.split,
        width=sample.width,
        height=sample.height,
        size_bytes=sample.size_bytes,
        findings=list(sample.findings),
        thumbnail_url=f"/datasets/{dataset_id}/samples/{sample.sample_id}/thumbnail",
    )

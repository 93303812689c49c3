"""What is in a dataset: the report of its import, its samples, and their thumbnails."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.deps import PrincipalDep, ServicesDep
from api.schemas.common import ListOf
from api.schemas.lists import render_list
from api.schemas.samples import ReportOut, SampleOut, render_report, render_sample
from api.services import Services
from core import datasets, reports, samples
from core.dataset_index import Split
from core.db.tables import Dataset
from core.ingest.findings import FindingCode
from core.sample_table import SampleFinding, SampleQuery

router = APIRouter(prefix="/datasets/{dataset_id}", tags=["datasets"])
DatasetId = Annotated[str, Path(max_length=64)]
SampleId = Annotated[str, Path(max_length=64)]
After = Annotated[str | None, Query(description="`last_id` of the page before", max_length=64)]
Limit = Annotated[int, Query(ge=1, le=100)]

# The picture was made by us, but from a stranger's bytes: a browser must take it for nothing but a picture.
THUMBNAIL_TYPE = "image/jpeg"
THUMBNAIL_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, max-age=31536000, immutable",  # an imported dataset never changes
    "Vary": "Authorization",
}


@router.get("/report")
def get_report(
    dataset_id: DatasetId,
    services: ServicesDep,
    principal: PrincipalDep,
    code: Annotated[FindingCode | None, Query(description="Only findings of this code")] = None,
    after: After = None,
    limit: Limit = 100,
) -> ReportOut:
    """What the import found and what to do about it: counts by code, and the findings in pages."""
    dataset = _get_dataset(services, principal.project_id, dataset_id)
    page = reports.read_report(services.storage, dataset, code=code, after=after, limit=limit)
    return render_report(dataset.id, page)


@router.get("/samples")
def list_samples(
    dataset_id: DatasetId,
    services: ServicesDep,
    principal: PrincipalDep,
    class_name: Annotated[str | None, Query(alias="class", max_length=255, description="Only of this class")] = None,
    split: Annotated[Split | None, Query(description="Only of this split")] = None,
    finding: Annotated[SampleFinding | None, Query(description="Only what findings of this code are about")] = None,
    after: After = None,
    limit: Limit = 20,
) -> ListOf[SampleOut]:
    """The pictures of the dataset by their ids; what was left out is in the report alone."""
    dataset = _get_dataset(services, principal.project_id, dataset_id)
    label = None if class_name is None else samples.find_label(dataset, class_name)
    query = SampleQuery(label=label, split=split, finding=finding)
    found = samples.list_samples(services.storage, dataset, query, after=after, limit=limit)
    classes = samples.list_classes(dataset)
    return render_list([render_sample(dataset.id, classes, row) for row in found.rows], has_more=found.has_more)


@router.get(
    "/samples/{sample_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {THUMBNAIL_TYPE: {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_thumbnail(
    dataset_id: DatasetId, sample_id: SampleId, services: ServicesDep, principal: PrincipalDep
) -> Response:
    """A JPEG of at most 128 pixels a side, made at import, without any metadata."""
    dataset = _get_dataset(services, principal.project_id, dataset_id)
    content = samples.read_thumbnail(services.storage, dataset, sample_id)
    disposition = {"Content-Disposition": f'attachment; filename="{sample_id}.jpg"'}
    return Response(content, media_type=THUMBNAIL_TYPE, headers=THUMBNAIL_HEADERS | disposition)


def _get_dataset(services: Services, project_id: str, dataset_id: str) -> Dataset:
    with services.transaction() as session:
        return datasets.get_dataset(session, project_id, dataset_id).dataset

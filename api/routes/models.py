"""Models: what finished jobs left, to look at, download and delete."""

from typing import Annotated

from anyio import from_thread
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse

from api.deps import NameFilter, PageDep, PrincipalDep, ServicesDep, SessionDep
from api.schemas.common import Download, DownloadPart, ListOf
from api.schemas.lists import render_list
from api.schemas.models import EvaluationOut, ModelOut, render_evaluation, render_model
from api.services import Services
from core import models
from core.db.tables import Model
from core.inference.evaluation_text import describe_evaluation
from core.inference.model_card import CARD_FILE, WEIGHTS_FILE
from core.storage_keys import model_prefix

router = APIRouter(prefix="/models", tags=["models"])
ModelId = Annotated[str, Path(max_length=64)]


@router.get("")
def list_models(
    session: SessionDep, services: ServicesDep, principal: PrincipalDep, page: PageDep, name: NameFilter = None
) -> ListOf[ModelOut]:
    found = models.list_models(session, principal.project_id, page, name=name)
    return render_list([_render(model, services) for model in found.rows], has_more=found.has_more)


@router.get("/{model_id}")
def get_model(model_id: ModelId, session: SessionDep, services: ServicesDep, principal: PrincipalDep) -> ModelOut:
    return _render(models.get_model(session, principal.project_id, model_id), services)


@router.get("/{model_id}/evaluation", response_model=EvaluationOut, responses={200: {"content": {"text/plain": {}}}})
def get_evaluation(
    model_id: ModelId, request: Request, session: SessionDep, principal: PrincipalDep
) -> EvaluationOut | PlainTextResponse:
    """How good the model is on samples that it did not learn from; as a text to read with `Accept: text/plain`."""
    found = render_evaluation(models.get_model(session, principal.project_id, model_id))
    if "text/plain" not in request.headers.get("accept", ""):
        return found
    text = describe_evaluation(found.evaluation(), encoder=found.encoder, temperature=found.temperature)
    return PlainTextResponse(text)


@router.delete("/{model_id}", status_code=204)
def delete_model(model_id: ModelId, session: SessionDep, services: ServicesDep, principal: PrincipalDep) -> Response:
    models.delete_model(session, principal.project_id, model_id)
    from_thread.run_sync(services.model_cache.discard, model_id)  # the cache belongs to the event loop
    return Response(status_code=204)


@router.get("/{model_id}/download")
def download_model(model_id: ModelId, services: ServicesDep, principal: PrincipalDep) -> Download:
    """Presigned URLs of `weights.safetensors` and `model.json`."""
    with services.transaction() as session:
        model = models.get_model(session, principal.project_id, model_id)
    prefix = model_prefix(model.id)
    files = [
        (WEIGHTS_FILE, model.weights_size_bytes, model.weights_sha256),
        (CARD_FILE, model.card_size_bytes, model.card_sha256),
    ]
    return Download(
        parts=[
            DownloadPart(
                name=name,
                size_bytes=size_bytes,
                sha256=sha256,
                url=services.storage.presign_download(prefix + name, filename=name),
            )
            for name, size_bytes, sha256 in files
        ]
    )


def _render(model: Model, services: Services) -> ModelOut:
    return render_model(model, is_warm=services.model_cache.is_warm(model.id))

"""Use cases of models: what a job left behind and predict serves."""

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, String, bindparam, func, or_, select
from sqlalchemy.orm import Session

from core import deletions
from core.db.session import Connected
from core.db.tables import Job, Model, Run
from core.errors import ConflictError, NotFoundError
from core.inference.model_card import Parity
from core.paging import Page, PageRequest, fetch_page
from core.runs import claims
from core.runs.types import Claim
from core.states import TERMINAL
from core.storage import StoredObject
from core.storage_keys import model_prefix


class NewModel(NamedTuple):
    """A model whose files are in the store already; its id was made by the attempt that wrote them."""

    id: str
    weights: StoredObject
    card_file: StoredObject
    card: dict[str, Any]  # model.json as read: core.inference.model_card.ModelCard


def publish_model(session: Session, held: Claim, job: Job, new: NewModel) -> Model:
    """Model row and succeeded run in one transaction: a zombie's files have no row and are never served."""
    claims.guard(session, held)
    model = Model(
        id=new.id,
        project_id=held.project_id,
        job_id=job.id,
        attempt=held.attempt,
        name=job.name,
        weights_sha256=new.weights.sha256,
        weights_size_bytes=new.weights.size_bytes,
        card_sha256=new.card_file.sha256,
        card_size_bytes=new.card_file.size_bytes,
        card=new.card,
    )
    session.add(model)
    claims.succeed(session, held)
    return model


def get_model(session: Session, project_id: str, model_id: str) -> Model:
    model = session.scalars(
        select(Model).where(Model.project_id == project_id, Model.id == model_id, Model.deleted_at.is_(None))
    ).one_or_none()
    if model is None:
        raise _missing(model_id)
    return model


def find_servable(connected: Connected, project_id: str, reference: str) -> str:
    """The id of the model that `reference` names by its own or by its finished job's."""
    named = {"project_id": project_id, "reference": reference}
    model_id = connected.execute(_select_servable(), named).scalar_one_or_none()
    if model_id is None:
        _explain_missing(connected, project_id, reference)
        raise _missing(reference)
    return model_id


def get_loadable(session: Session, model_id: str) -> Model:
    """Of whatever project: who may ask for it was looked up before. Raises ConflictError for one that is not ready."""
    model = session.scalars(select(Model).where(Model.id == model_id, Model.deleted_at.is_(None))).one_or_none()
    if model is None:
        raise _missing(model_id)
    require_ready(model)
    return model


def find_living(session: Session, model_ids: list[str]) -> set[str]:
    """Those that were not deleted."""
    return set(session.scalars(select(Model.id).where(Model.id.in_(model_ids), Model.deleted_at.is_(None))))


def read_parity(model: Model) -> Parity | None:
    """None where the model was trained before it was measured."""
    parity = model.card.get("parity")
    return None if parity is None else Parity.model_validate(parity)


def is_ready(parity: Parity | None) -> bool:
    return parity is None or parity.is_sufficient


def require_ready(model: Model) -> None:
    """Raises ConflictError for one that predict would serve otherwise than it was evaluated."""
    parity = read_parity(model)
    if parity is not None and not parity.is_sufficient:
        raise ConflictError(
            "model_not_ready",
            parity.describe(),
            hint="train it again; if that does not help, the dataset's pictures or the libraries have changed since: "
            "import the dataset again, and compare the installed versions with `requirements.lock`",
            param="model",
        )


def list_models(session: Session, project_id: str, page: PageRequest, *, name: str | None = None) -> Page[Model]:
    query = select(Model).where(Model.project_id == project_id, Model.deleted_at.is_(None))
    if name is not None:
        query = query.where(Model.name == name)
    return fetch_page(session, query, Model.id, page)


def delete_model(session: Session, project_id: str, model_id: str) -> None:
    model = get_model(session, project_id, model_id)
    model.deleted_at = session.scalar(select(func.clock_timestamp()))
    deletions.schedule(session, model_prefix(model.id))


@cache
def _select_servable() -> Select[str]:
    """Made once: every request to predict asks it."""
    reference = bindparam("reference", type_=String)
    return select(Model.id).where(
        Model.project_id == bindparam("project_id"),
        or_(Model.id == reference, Model.job_id == reference),
        Model.deleted_at.is_(None),
    )


def _explain_missing(connected: Connected, project_id: str, reference: str) -> None:
    status = connected.scalar(
        select(Run.status)
        .join(Job, Job.run_id == Run.id)
        .where(Job.project_id == project_id, Job.id == reference, Job.deleted_at.is_(None))
    )
    if status is not None and status not in TERMINAL:
        raise ConflictError("job_unfinished", f"the job is {status}", hint="poll the job until it has succeeded")


def _missing(reference: str) -> NotFoundError:
    return NotFoundError(
        "model_not_found",
        f"there is no model '{reference}'",
        hint="`GET /models` lists those of the key's project",
        param="model",
    )

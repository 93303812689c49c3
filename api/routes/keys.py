"""API keys; every route needs the scope `admin`."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from api.deps import PageDep, PrincipalDep, ServicesDep, SessionDep
from api.idempotency import OnceDep, create_once, created
from api.schemas.common import ListOf, Problem
from api.schemas.keys import KeyCreate, KeyCreated, KeyOut, render_key
from api.schemas.lists import render_list
from core import keys
from core.idempotency import Answer

router = APIRouter(prefix="/keys", tags=["keys"])
KeyId = Annotated[str, Path(max_length=64)]


@router.post("", status_code=201, response_model=KeyCreated, responses={409: {"model": Problem}})
def create_key(body: KeyCreate, services: ServicesDep, principal: PrincipalDep, once: OnceDep) -> Response:
    """The secret is shown in this answer alone, and not again to a retry with the same `Idempotency-Key`."""

    def create(session: Session) -> Answer:
        new = keys.create_key(
            session,
            project_id=principal.project_id,
            name=body.name,
            scopes=tuple(body.scopes),
            expires_at=body.expires_at,
            expires_in_days=body.expires_in_days,
        )
        key = keys.get_key(session, principal.project_id, new.id)
        shown = KeyCreated(secret=new.secret, **render_key(key).model_dump())
        return created(shown, status_code=201, location=f"/keys/{key.id}")

    return create_once(services, once, create, keep_body=False)


@router.get("")
def list_keys(session: SessionDep, principal: PrincipalDep, page: PageDep) -> ListOf[KeyOut]:
    found = keys.list_keys(session, principal.project_id, page)
    return render_list([render_key(key) for key in found.rows], has_more=found.has_more)


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: KeyId, session: SessionDep, principal: PrincipalDep) -> Response:
    keys.revoke_key(session, principal.project_id, key_id)
    return Response(status_code=204)

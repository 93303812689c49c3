"""Each route with a key of each single scope: let in, or refused, as the table says."""

from collections.abc import Callable

import httpx
import pytest

from core.db.session import SessionFactory
from core.ids import make_id
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.quotas import QuotaName, set_quota
from tests.api.route_tables import PATH_IDS, ROUTES

SendWith = Callable[[str, str | None], httpx.Response]


@pytest.fixture(scope="module")
def secrets(module_sessions: SessionFactory) -> dict[str, str]:
    """A key of each single scope."""
    with module_sessions.begin() as session:
        project_id = ensure_project(session)
        set_quota(session, project_id, QuotaName.REQUESTS_PER_SECOND, None)
        return {
            scope: create_key(session, project_id=project_id, name=scope, scopes=(scope,)).secret
            for scope in ALL_SCOPES
        }


@pytest.fixture
def send(api_url: str, secrets: dict[str, str]) -> SendWith:
    """With random ids: what is let in finds nothing."""

    def send(route: str, scope: str | None) -> httpx.Response:
        method, path = route.split(" ")
        url = api_url + path.format_map({name: make_id("x") for name in PATH_IDS})
        headers = {} if scope is None else {"Authorization": f"Bearer {secrets[scope]}"}
        return httpx.request(method, url, json=ROUTES[route].body, headers=headers, trust_env=False)

    return send


@pytest.mark.parametrize("route", ROUTES)
def test_key_does_what_its_scope_allows_and_nothing_else(send: SendWith, route: str) -> None:
    needed = ROUTES[route].scope
    answers = {scope: send(route, scope) for scope in ALL_SCOPES}
    if needed is None:
        assert not {401, 403} & {answer.status_code for answer in answers.values()}
        return

    refused = {scope for scope, answer in answers.items() if answer.status_code == 403}

    assert refused == set(ALL_SCOPES) - {needed}
    assert {answers[scope].json()["code"] for scope in refused} == {"scope_missing"}
    assert all(f"'{needed}'" in answers[scope].json()["detail"] for scope in refused)
    assert answers[needed].status_code != 401


@pytest.mark.parametrize("route", ROUTES)
def test_route_without_a_key_is_open_or_401(send: SendWith, route: str) -> None:
    answer = send(route, None)

    assert (answer.status_code == 401) is (ROUTES[route].scope is not None)

"""Each route with a key of each single scope: let in, or refused, as the table says."""

from collections.abc import Callable

import httpx
import pytest

from core.db.session import SessionFactory
from core.ids import make_id
from core.keys import ALL_SCOPES, create_key, ensure_project
from tests.api.route_tables import PATH_IDS, ROUTES

SendWith = Callable[[str, str | None], httpx.Response]


@pytest.fixture
def send(api_url: str, sessions: SessionFactory) -> SendWith:
    """With random ids: what is let in finds nothing."""

    def send(route: str, scope: str | None) -> httpx.Response:
        method, path = route.split(" ")
        url = api_url + path.format_map({name: make_id("x") for name in PATH_IDS})
        return httpx.request(method, url, json=ROUTES[route].body, headers=make_headers(scope), trust_env=False)

    def make_headers(scope: str | None) -> dict[str, str]:
        if scope is None:
            return {}
        with sessions.begin() as session:
            key = create_key(session, project_id=ensure_project(session), name=scope, scopes=(scope,))
        return {"Authorization": f"Bearer {key.secret}"}

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

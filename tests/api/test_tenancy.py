"""To a stranger another project's ids are as good as random ones: the cases are generated from /openapi.json."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from core.db.session import SessionFactory
from core.ids import make_id
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.quotas import QuotaName, set_quota
from core.storage import Storage
from tests.api.conftest import open_client
from tests.api.route_tables import CURSORS, IGNORED, PATH_IDS, REFERENCE_FIELDS, REFERENCES, ROUTES, Json, Reference
from tests.api.worlds import World, dump_tables, make_world

PARAMETER = re.compile(r"\{(\w+)\}")
WITH_IDS = [(route, name) for route in ROUTES for name in PARAMETER.findall(route)]
WITHOUT_IDS = [route for route in ROUTES if route.startswith("GET ") and not PARAMETER.search(route)]


@pytest.fixture(scope="module")
def owner(api_url: str, module_sessions: SessionFactory) -> Iterator[httpx.Client]:
    with open_tenant(api_url, module_sessions, "mine") as client:
        yield client


@pytest.fixture(scope="module")
def stranger(api_url: str, module_sessions: SessionFactory) -> Iterator[httpx.Client]:
    with open_tenant(api_url, module_sessions, "theirs") as client:
        yield client


@contextmanager
def open_tenant(api_url: str, sessions: SessionFactory, project: str) -> Iterator[httpx.Client]:
    with sessions.begin() as session:
        set_quota(session, ensure_project(session, project), QuotaName.REQUESTS_PER_SECOND, None)
        key = create_key(session, project_id=ensure_project(session, project), name="a", scopes=ALL_SCOPES)
    with open_client(api_url, key.secret) as client:
        yield client


@pytest.fixture
def mine(module_sessions: SessionFactory, storage: Storage, tmp_path: Path) -> World:
    with module_sessions.begin() as session:
        return make_world(session, storage, "mine", tmp_path)


@pytest.fixture
def theirs(module_sessions: SessionFactory, storage: Storage, tmp_path: Path) -> World:
    with module_sessions.begin() as session:
        return make_world(session, storage, "theirs", tmp_path)


@pytest.fixture(scope="session")
def openapi(api_url: str) -> Json:
    document: Json = httpx.get(f"{api_url}/openapi.json", trust_env=False).json()
    return document


def list_routes(openapi: Json) -> set[str]:
    return {f"{method.upper()} {path}" for path, methods in openapi["paths"].items() for method in methods}


def test_every_route_and_every_id_has_a_line_in_the_tables(openapi: Json) -> None:
    assert list_routes(openapi) == set(ROUTES)
    assert {name for _, name in WITH_IDS} <= set(PATH_IDS)


def test_every_reference_has_a_line_in_the_table(openapi: Json) -> None:
    named = {(reference.route, reference.field) for reference in REFERENCES}
    assert list_references(openapi) - IGNORED == named


def list_references(openapi: Json) -> set[tuple[str, str]]:
    """What a body or a query names."""
    found = set()
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            names = {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"}
            names |= set(walk_properties(operation.get("requestBody", {}), openapi))
            references = {name for name in names - CURSORS if re.search(REFERENCE_FIELDS, name)}
            found |= {(f"{method.upper()} {path}", name) for name in references}
    return found


def walk_properties(schema: Any, openapi: Json) -> Iterator[str]:
    """The names of all properties, at any depth."""
    if isinstance(schema, list):
        for item in schema:
            yield from walk_properties(item, openapi)
    if not isinstance(schema, dict):
        return
    yield from schema.get("properties", {})
    for key, value in schema.items():
        if key == "$ref":
            yield from walk_properties(openapi["components"]["schemas"].get(value.rsplit("/", 1)[1], {}), openapi)
        elif key not in {"example", "examples"}:
            yield from walk_properties(value, openapi)


class Answer(NamedTuple):
    """A problem without what is different in each: the id, the request's id."""

    status: int
    headers: frozenset[str]
    problem: Json


def read(answer: httpx.Response, named: str) -> Answer:
    problem = {key: value for key, value in answer.json().items() if key != "request_id"}
    shown = {key: value.replace(named, "ID") if isinstance(value, str) else value for key, value in problem.items()}
    return Answer(answer.status_code, frozenset(answer.headers), shown)


def make_random(id_: str) -> str:
    if "_" not in id_:  # of a sample
        return secrets.token_hex(16)
    return make_id(id_.split("_", maxsplit=1)[0])


def send(client: httpx.Client, route: str, ids: dict[str, str]) -> httpx.Response:
    method, path = route.split(" ")
    return client.request(method, path.format(**ids), json=ROUTES[route].body)


@pytest.mark.parametrize(("route", "name"), WITH_IDS)
def test_foreign_id_in_a_path_is_as_unknown_as_a_random_one(
    mine: World,
    theirs: World,
    owner: httpx.Client,
    stranger: httpx.Client,
    module_sessions: SessionFactory,
    route: str,
    name: str,
) -> None:
    """Also where the other ids of the path are the stranger's own."""
    with module_sessions() as session:
        before = dump_tables(session)
    own = {key: PATH_IDS[key](theirs) for key in PARAMETER.findall(route)}
    foreign, random = PATH_IDS[name](mine), make_random(PATH_IDS[name](mine))

    answer = read(send(stranger, route, own | {name: foreign}), foreign)

    assert answer.status == 404
    assert answer == read(send(stranger, route, own | {name: random}), random)
    with module_sessions() as session:
        assert dump_tables(session) == before
    owners = send(owner, route, {key: PATH_IDS[key](mine) for key in PARAMETER.findall(route)})
    assert owners.status_code != 404 or owners.json()["code"] != answer.problem["code"]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: f"{reference.route} {reference.field}")
def test_foreign_id_in_a_body_is_as_unknown_as_a_random_one(
    mine: World, owner: httpx.Client, stranger: httpx.Client, module_sessions: SessionFactory, reference: Reference
) -> None:
    method, path = reference.route.split(" ")
    with module_sessions() as session:
        before = dump_tables(session)
    foreign = reference.find_id(mine)
    random = make_random(foreign)

    answer = read(stranger.request(method, path, **reference.make_request(foreign)), foreign)

    assert answer.status == 404
    assert answer == read(stranger.request(method, path, **reference.make_request(random)), random)
    with module_sessions() as session:
        assert dump_tables(session) == before
    owners = owner.request(method, path, **reference.make_request(foreign))
    assert owners.status_code != 404 or owners.json()["code"] != answer.problem["code"]


@pytest.mark.parametrize("route", WITHOUT_IDS)
def test_no_list_shows_anything_foreign(mine: World, theirs: World, stranger: httpx.Client, route: str) -> None:
    path = route.removeprefix("GET ")
    pages = [stranger.get(path + query).text for query in ("", "?limit=100", "?limit=100&order=asc")]

    assert not [id_ for id_ in mine if any(id_ in page for page in pages)]


@pytest.mark.parametrize(
    ("path", "field"),
    [("/datasets", "dataset_id"), ("/jobs", "job_id"), ("/models", "model_id"), ("/keys", "key_id")],
)
def test_list_shows_what_is_ones_own(mine: World, theirs: World, stranger: httpx.Client, path: str, field: str) -> None:
    shown = [item["id"] for item in stranger.get(path, params={"limit": 100}).json()["data"]]

    assert PATH_IDS[field](theirs) in shown


def test_foreign_cursor_shows_nothing_foreign(mine: World, theirs: World, stranger: httpx.Client) -> None:
    pages = [stranger.get("/jobs", params={"after": mine.job_id, "order": order}).text for order in ("asc", "desc")]

    assert not [page for page in pages if mine.dataset_id in page or f'"id":"{mine.job_id}"' in page]

"""The contract as clients read it: complete, true of the code, and changed only on purpose."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from api.main import make_document
from api.openapi import PROBLEM_JSON, Document, list_operations
from api.reference import PAGE, make_offline_settings, make_page
from api.request_kinds import OPEN_PATHS

SNAPSHOT = Path(__file__).with_name("openapi.json")
WORDS = frozenset({"description", "examples", "title", "summary"})
REFRESH = "python -m tests.api.snapshot"


@pytest.fixture(scope="module")
def document() -> Document:
    return make_document(make_offline_settings())


def test_contract_is_the_one_that_was_agreed_on(document: Document) -> None:
    assert json.loads(SNAPSHOT.read_text()) == strip(document), f"if this is meant: {REFRESH}"


def test_page_is_made_from_the_contract(document: Document) -> None:
    assert PAGE.read_text() == make_page(document), f"if this is meant: {REFRESH}"


def test_every_schema_has_an_example_that_its_model_takes(document: Document) -> None:
    models = {model.__name__.translate(str.maketrans("[]", "__")): model for model in list_models(BaseModel)}
    schemas = document["components"]["schemas"]

    assert all(schema["examples"] for schema in schemas.values())
    for name in schemas.keys() & models.keys():
        models[name].model_validate_json(json.dumps(schemas[name]["examples"][0]))
    assert len(schemas.keys() & models.keys()) >= len(schemas) - 3  # enumerations have no model


def test_every_documented_error_has_an_example(document: Document) -> None:
    for path, method, operation in list_operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                problem = response["content"][PROBLEM_JSON]["example"]
                assert problem["status"] == int(status), (path, method)
                assert ("headers" in response) == (status in {"429", "503"}), (path, method)


def test_every_reference_is_there(document: Document) -> None:
    for reference in find_references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_every_route_but_the_open_ones_asks_for_a_key(document: Document) -> None:
    without = {path for path, _, operation in list_operations(document) if "security" not in operation}

    assert without == OPEN_PATHS & document["paths"].keys()


def strip(node: object) -> object:
    """Without examples and words, which may change freely."""
    match node:
        case dict():
            return {key: strip(part) for key, part in node.items() if not is_wording(key, part)}
        case list():
            return [strip(part) for part in node]
        case _:
            return node


def is_wording(key: str, part: object) -> bool:
    """A schema may have a property of such a name."""
    return key == "example" or (key in WORDS and isinstance(part, str | list))


def list_models(base: type[BaseModel]) -> list[type[BaseModel]]:
    found = [model for child in base.__subclasses__() for model in list_models(child)]
    return [*found, *base.__subclasses__()]


def find_references(node: object) -> list[str]:
    match node:
        case {"$ref": str(reference)}:
            return [reference]
        case dict():
            return [reference for part in node.values() for reference in find_references(part)]
        case list():
            return [reference for part in node for reference in find_references(part)]
        case _:
            return []

"""The page `docs/api.md`, made from the OpenAPI document by `python -m tests.api.snapshot`."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue, SecretStr

from api.examples import make_example
from api.openapi import Document, list_operations
from core.settings import Settings

SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
PAGE = Path(__file__).parents[1] / "docs" / "api.md"
HEAD = """# Reference of the API

Made from the OpenAPI document, which a running service has at `/openapi.json` (and as
pages at `/docs`). Every answer carries `X-Request-Id`; errors are `application/problem+json` with `code` and `hint`.
"""


def make_page(document: Document) -> str:
    return "\n".join([HEAD, *_list_routes(document)])


def make_offline_settings() -> Settings:
    """Of a service that is never started."""
    nowhere = "127.0.0.1:1"
    return Settings(
        database_url=SecretStr(f"postgresql+psycopg://{nowhere}/bitune"),
        broker_url=SecretStr(f"redis://{nowhere}/0"),
        s3_endpoint_url=f"http://{nowhere}",
        s3_access_key_id=SecretStr("none"),
        s3_secret_access_key=SecretStr("none"),
    )


def _list_routes(document: Document) -> Iterator[str]:
    schemas = document["components"]["schemas"]
    group = None
    for path, method, operation in list_operations(document):
        tag = operation.get("tags", ["other"])[0]
        if tag != group:
            group = tag
            yield f"## {tag.capitalize()}\n"
        yield f"### {method.upper()} {path}\n"
        if operation.get("description"):
            yield f"{operation['description']}\n"
        yield from _list_parameters(operation)
        yield from _show_body(operation, schemas)
        yield from _show_answers(operation)


def _list_parameters(operation: Document) -> Iterator[str]:
    shown = [item for item in operation.get("parameters", []) if item["in"] != "path"]
    if not shown:
        return
    yield "| parameter | in | type | meaning |\n|---|---|---|---|"
    for item in shown:
        yield f"| `{item['name']}` | {item['in']} | {_describe(item['schema'])} | {item.get('description', '')} |"
    yield ""


def _describe(schema: Document) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    choices = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    if choices:
        return " or ".join(_describe(part) for part in choices)
    limits = [f"{sign} {schema[key]}" for key, sign in SIGNS.items() if key in schema]
    return " ".join([str(schema.get("type", "any")), *limits])


def _show_body(operation: Document, schemas: Document) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    for media_type, body in content.items():
        if media_type == "application/json":
            example = body.get("example", make_example(body["schema"], schemas))
            yield f"Body:\n\n```json\n{_format(example)}\n```\n"
        else:
            fields = ", ".join(f"`{name}`" for name in body["schema"].get("properties", {}))
            yield f"Body as `{media_type}`{': ' + fields if fields else ''}\n"


def _show_answers(operation: Document) -> Iterator[str]:
    for status, response in operation["responses"].items():
        example = response.get("content", {}).get("application/json", {}).get("example")
        if int(status) < 400 and example is not None:
            yield f"Answer {status}:\n\n```json\n{_format(example)}\n```\n"
    problems = [status for status in operation["responses"] if int(status) >= 400]
    others = [status for status in operation["responses"] if int(status) < 400]
    yield f"Statuses: {', '.join(others)}; problems: {', '.join(problems)}.\n"


def _format(example: JsonValue) -> str:
    return json.dumps(example, indent=2, ensure_ascii=False)

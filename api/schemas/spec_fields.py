"""The fields of a job's spec as a flat list, read from the JSON schema of the models themselves."""

from collections.abc import Iterator
from typing import Any

from api.schemas.previews import FieldOut

Schema = dict[str, Any]  # a JSON schema


def list_fields(schema: Schema) -> list[FieldOut]:
    """Nested objects give `training.epochs`; each method its own `method.…`, and one `method.type` for all."""
    definitions = schema.get("$defs", {})
    return list(_walk(schema, definitions, prefix=""))


def _walk(schema: Schema, definitions: Schema, prefix: str) -> Iterator[FieldOut]:
    for name, given in schema["properties"].items():
        if "const" in given:
            continue  # what tells the variants apart is said where they are chosen from
        if "discriminator" in given:
            yield _describe_choice(prefix + name, given)
        variants = [_follow(variant, definitions) for variant in given.get("oneOf") or given.get("anyOf") or [given]]
        nested = [variant for variant in variants if "properties" in variant]
        if len(nested) != len(variants):
            yield _describe(prefix + name, given, [variant for variant in variants if variant not in nested], nested)
        for variant in nested:
            yield from _walk(variant, definitions, f"{prefix}{name}.")


def _describe(name: str, given: Schema, variants: list[Schema], nested: list[Schema]) -> FieldOut:
    numbers = [variant for variant in variants if variant.get("type") in {"integer", "number"}]
    types = [_name_type(variant) for variant in variants] + ["object"] * bool(nested)
    choices = [str(choice) for variant in variants for choice in _list_choices(variant)]
    return FieldOut(
        name=name,
        type=" or ".join(dict.fromkeys(types)),
        default=given.get("default"),
        minimum=_find(numbers, "minimum", "exclusiveMinimum"),
        maximum=_find(numbers, "maximum", "exclusiveMaximum"),
        choices=choices or None,
        description=given.get("description", ""),
    )


def _describe_choice(name: str, given: Schema) -> FieldOut:
    tag = given["discriminator"]["propertyName"]
    return FieldOut(
        name=f"{name}.{tag}",
        type="string",
        default=given["default"][tag],
        minimum=None,
        maximum=None,
        choices=list(given["discriminator"]["mapping"]),
        description=f"Which other fields `{name}` has",
    )


def _follow(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    found: Schema = schema if reference is None else definitions[reference.rsplit("/", 1)[-1]]
    return found


def _name_type(schema: Schema) -> str:
    return f'"{schema["const"]}"' if "const" in schema else str(schema.get("type", "object"))


def _list_choices(schema: Schema) -> list[Any]:
    return list(schema.get("enum", [])) + ([schema["const"]] if "const" in schema else [])


def _find(numbers: list[Schema], *names: str) -> float | None:
    return next((schema[name] for schema in numbers for name in names if name in schema), None)

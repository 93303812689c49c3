"""An example of any schema: its own, or one made of its parts."""

from typing import Any

from pydantic import JsonValue

ID = "01k9ve5x3g7q8v5t2m6n4p8r0s"
SHA256 = "9f" * 32
TIME = "2026-11-25T12:00:00Z"

BY_NAME: dict[str, JsonValue] = {  # what fields of these names hold
    "accuracy": 0.83,
    "agreement": 1.0,
    "backbone": "tf_efficientnet_lite0",
    "best_checkpoint_id": f"ckpt_{ID}",
    "code": "worker_lost",
    "created_at": TIME,
    "dataset_id": f"ds_{ID}",
    "epoch": 4,
    "first_id": f"job_{ID}",
    "has_more": False,
    "hint": "nothing to do: it is tried again",
    "hostname": "gpu-1",
    "id": f"job_{ID}",
    "image_size": 224,
    "job_id": f"job_{ID}",
    "label": "defective",
    "largest_difference": 0.000002,
    "last_id": f"job_{ID}",
    "message": "the worker of attempt 1 stopped answering",
    "metadata": {"team": "pv"},
    "model_id": f"model_{ID}",
    "name": "cells-v1",
    "num_samples": 64,
    "position": 3,
    "reason": "2 jobs are before it",
    "sha256": SHA256,
    "size_bytes": 12_500_000,
    "step": 40,
    "url": "https://store.example.com/part?signature=…",
    "worker": f"worker_{ID}",
}


ID_PREFIXES = {
    "CheckpointOut": "ckpt",
    "KeyCreated": "key",
    "KeyOut": "key",
    "ModelOut": "model",
    "UploadOut": "upload",
    "WorkerOut": "worker",
}
Schema = dict[str, Any]  # JSON Schema is open-ended


def make_example(schema: Schema, schemas: Schema, name: str = "") -> JsonValue:
    """`schemas` are those that a `$ref` may name; `name` is the field's."""
    example: JsonValue
    match schema:
        case {"$ref": str(reference)}:
            example = make_example(schemas[reference.rsplit("/", 1)[-1]], schemas, name)
        case {"examples": [first, *_]} | {"const": first} | {"enum": [first, *_]}:
            example = first
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            example = make_example(next(part for part in choices if part.get("type") != "null"), schemas, name)
        case {"properties": dict(properties)}:
            example = {key: make_example(part, schemas, key) for key, part in properties.items()}
            if isinstance(example.get("id"), str):
                example["id"] = f"{ID_PREFIXES.get(schema.get('title', ''), 'job')}_{ID}"
        case _:
            example = _make_plain(schema, schemas, name)
    return example


def _make_plain(schema: Schema, schemas: Schema, name: str) -> JsonValue:
    example: JsonValue
    match schema:
        case {"type": kind} if name in BY_NAME and _fits(BY_NAME[name], kind):
            example = BY_NAME[name]
        case {"prefixItems": list(items)}:
            example = [make_example(item, schemas) for item in items]
        case {"type": "array"}:
            example = [make_example(schema.get("items", {}), schemas)]
        case {"type": "object", "additionalProperties": dict(values)}:
            key = make_example(schema.get("propertyNames", {"const": "accuracy"}), schemas)
            example = {str(key): make_example(values, schemas)}
        case {"type": "object"}:
            example = {}
        case {"type": "integer"}:
            example = max(1, schema.get("minimum", 1))
        case {"type": "number"}:
            example = 0.5
        case {"type": "boolean"}:
            example = True
        case {"format": "date-time"}:
            example = TIME
        case _:
            example = name or "…"
    return example


def _fits(value: JsonValue, kind: str) -> bool:
    match kind:
        case "number":
            return isinstance(value, int | float)
        case "integer":
            return isinstance(value, int)
        case "string":
            return isinstance(value, str)
        case "object":
            return isinstance(value, dict)
        case _:
            return False

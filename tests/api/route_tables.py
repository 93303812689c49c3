"""What each route needs and names. A route that is missing here fails the tests: it gets its line when it is made."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.api.worlds import World

Json = dict[str, Any]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
PICTURES: Json = {"images": [{"b64": PIXEL}]}


class Access(NamedTuple):
    """The scope that a key needs, None where no key is asked for; and a JSON body that the route takes, if any."""

    scope: str | None
    body: Json | None = None


OPEN = Access(None)
READ = Access("read")
WRITE = Access("write")
ADMIN = Access("admin")

# "METHOD /path" as in /openapi.json
ROUTES: dict[str, Access] = {
    "GET /livez": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": ADMIN,
    "GET /workers": ADMIN,
    "GET /backbones": READ,
    "GET /keys": ADMIN,
    "POST /keys": ADMIN,
    "DELETE /keys/{key_id}": ADMIN,
    "POST /uploads": WRITE,
    "GET /uploads/{upload_id}": WRITE,
    "DELETE /uploads/{upload_id}": WRITE,
    "POST /uploads/{upload_id}/complete": WRITE,
    "GET /datasets": READ,
    "POST /datasets": WRITE,
    "GET /datasets/{dataset_id}": READ,
    "DELETE /datasets/{dataset_id}": WRITE,
    "GET /datasets/{dataset_id}/report": READ,
    "GET /datasets/{dataset_id}/samples": READ,
    "GET /datasets/{dataset_id}/samples/{sample_id}/thumbnail": READ,
    "GET /jobs": READ,
    "POST /jobs": WRITE,
    "POST /jobs/validate": WRITE,
    "GET /job-schema": READ,
    "GET /jobs/{job_id}": READ,
    "DELETE /jobs/{job_id}": WRITE,
    "POST /jobs/{job_id}/cancel": WRITE,
    "POST /jobs/{job_id}/pause": WRITE,
    "POST /jobs/{job_id}/resume": WRITE,
    "GET /jobs/{job_id}/events": READ,
    "GET /jobs/{job_id}/metrics": READ,
    "GET /jobs/{job_id}/log": READ,
    "GET /jobs/{job_id}/checkpoints": READ,
    "GET /jobs/{job_id}/checkpoints/{checkpoint_id}/download": READ,
    "GET /models": READ,
    "GET /models/{model_id}": READ,
    "DELETE /models/{model_id}": WRITE,
    "GET /models/{model_id}/evaluation": READ,
    "GET /models/{model_id}/download": READ,
    "POST /predict": Access("predict"),
    "POST /models/{model_id}/predict": Access("predict", PICTURES),
}

# The row of a world that a parameter of a path names. One that is missing here fails the tests, too.
PATH_IDS: dict[str, Callable[[World], str]] = {
    "checkpoint_id": lambda world: world.checkpoint_id,
    "dataset_id": lambda world: world.dataset_id,
    "job_id": lambda world: world.job_id,
    "key_id": lambda world: world.key_id,
    "model_id": lambda world: world.model_id,
    "sample_id": lambda world: world.sample_id,
    "upload_id": lambda world: world.upload_id,
}


class Reference(NamedTuple):
    """A field of a body or query that names a row: how to send `named`, which is that row's id."""

    route: str
    field: str
    find_id: Callable[[World], str]
    make_request: Callable[[str], Json]  # arguments of httpx's `request`


# Every field of a request that names a row has a line here; the tests compare it with /openapi.json.
REFERENCES = [
    Reference(
        "POST /datasets",
        "upload_id",
        lambda world: world.upload_id,
        lambda named: {"json": {"name": "a", "upload_id": named}},
    ),
    Reference(
        "POST /jobs",
        "dataset_id",
        lambda world: world.dataset_id,
        lambda named: {"json": {"backbone": "tiny", "dataset_id": named}},
    ),
    Reference(
        "POST /jobs/validate",
        "dataset_id",
        lambda world: world.dataset_id,
        lambda named: {"json": {"backbone": "tiny", "dataset_id": named}, "params": {"wait": 0}},
    ),
    Reference(
        "POST /predict",
        "model",
        lambda world: world.model_id,
        lambda named: {"json": {"model": named, **PICTURES}},
    ),
    Reference(
        "POST /predict",
        "model",
        lambda world: world.job_id,
        lambda named: {"params": {"model": named}, "json": PICTURES},
    ),
    Reference(
        "POST /predict",
        "model",
        lambda world: world.model_id,
        lambda named: {"data": {"model": named}, "files": {"files": ("a.png", b"x")}},
    ),
]
REFERENCE_FIELDS = r"(_id|^model|^start_from|^after)$"  # fields so named refer to rows
IGNORED = {("POST /models/{model_id}/predict", "model")}  # the path names the model
CURSORS = {"after"}  # compared with ids, never looked up: a foreign one tells nothing

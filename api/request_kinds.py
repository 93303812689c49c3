"""What kind of request it is, from method, path and headers alone: the layers ask before any route is found."""

import re

from starlette.datastructures import Headers
from starlette.types import Scope

OPEN_PATHS = frozenset({"/livez", "/readyz", "/openapi.json", "/docs"})
ADMIN_PATHS = re.compile(r"^/(metrics|workers|keys)(/|$)")
PREDICT_PATHS = re.compile(r"^(/predict|/models/[^/]+/predict)$")
UPLOAD_PATHS = re.compile(r"^/uploads(/|$)")  # what is read there are URLs that write


def is_upload(scope: Scope) -> bool:
    """A form whose file goes to the store while it arrives."""
    content_type = Headers(scope=scope).get("content-type", "")
    return scope["path"] == "/datasets" and content_type.startswith("multipart/form-data")


def brings_upload(scope: Scope) -> bool:
    """Whether it sends bytes to keep, or opens a way for them."""
    return is_upload(scope) or (scope["method"] == "POST" and scope["path"] == "/uploads")


def find_needed_scope(scope: Scope) -> str:
    """Of the scopes that a key may have."""
    method, path = scope["method"], scope["path"]
    if ADMIN_PATHS.match(path):
        return "admin"
    if PREDICT_PATHS.match(path):
        return "predict"
    return "read" if method in {"GET", "HEAD"} and not UPLOAD_PATHS.match(path) else "write"

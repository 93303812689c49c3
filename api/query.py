"""Query parameters that FastAPI's declarations do not reach: labels by name, and typing errors."""

import re
from typing import Annotated

from fastapi import Depends, Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from core.errors import InvalidInputError

METADATA = re.compile(r"^metadata\[(.{1,64})\]$", re.DOTALL)
MAX_FILTERS = 16


async def get_metadata_filter(request: Request) -> dict[str, str]:
    """`metadata[team]=pv`: lists what carries all of these labels."""
    found = {match[1]: value for name, value in request.query_params.items() if (match := METADATA.match(name))}
    if len(found) > MAX_FILTERS:
        raise InvalidInputError("invalid_filter", f"at most {MAX_FILTERS} labels", hint="take fewer", param="metadata")
    return found


MetadataFilterDep = Annotated[dict[str, str], Depends(get_metadata_filter)]


async def refuse_unknown_parameters(request: Request) -> None:
    """`?stauts=failed` would list everything."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute):
        return
    fields = get_flat_params(route.dependant)  # also of path and headers
    known = {field.alias for field in fields if isinstance(field.field_info, params.Query)}
    takes_labels = any(item.call is get_metadata_filter for item in route.dependant.dependencies)
    for name in request.query_params:
        if name not in known and not (takes_labels and METADATA.match(name)):
            raise InvalidInputError(
                "unknown_parameter",
                f"there is no query parameter '{name[:100]}' here",
                hint=f"known: {', '.join(sorted(known)) or 'none'}",
                param=name[:100],
            )

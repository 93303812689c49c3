"""Which model a request names."""

from collections.abc import Hashable
from functools import partial

from api.shared_reads import SharedReads
from core import models
from core.db.lookups import Lookups
from core.errors import NotFoundError

MAX_REMEMBERED = 1000


class ServableModels:
    """Asked for every request, so that a deleted model is gone at once; those that ask at a time ask together."""

    def __init__(self, lookups: Lookups, reads: SharedReads, *, max_remembered: int = MAX_REMEMBERED) -> None:
        self._lookups = lookups
        self._reads = reads
        self._max_remembered = max_remembered
        self._remembered: dict[Hashable, str] = {}

    async def find(self, project_id: str, reference: str) -> str:
        """The id of the model that is named by its own id or by its job's; raises NotFoundError and ConflictError."""
        find = partial(models.find_servable, project_id=project_id, reference=reference)
        try:
            model_id = await self._reads.read(("servable", project_id, reference), partial(self._lookups.read, find))
        except NotFoundError:
            self._remembered.pop((project_id, reference), None)
            raise
        if len(self._remembered) >= self._max_remembered:
            self._remembered.clear()
        self._remembered[project_id, reference] = model_id
        return model_id

    def recall(self, project_id: str, reference: str) -> str | None:
        """What was found last: enough to begin work, never to answer."""
        return self._remembered.get((project_id, reference))

"""Which model a request names."""

from functools import partial

from api.remembered import Remembered
from api.shared_reads import SharedReads
from core import models
from core.db.lookups import Lookups
from core.errors import NotFoundError


class ServableModels:
    """Asked for every request, so that a deleted model is gone at once; those that ask at a time ask together."""

    def __init__(self, lookups: Lookups, reads: SharedReads) -> None:
        self._lookups = lookups
        self._reads = reads
        self._remembered: Remembered[tuple[str, str], str] = Remembered()

    async def find(self, project_id: str, reference: str) -> str:
        """The id of the model that is named by its own id or by its job's; raises NotFoundError and ConflictError."""
        find = partial(models.find_servable, project_id=project_id, reference=reference)
        try:
            model_id = await self._reads.read(("servable", project_id, reference), partial(self._lookups.read, find))
        except NotFoundError:
            self._remembered.forget((project_id, reference))
            raise
        self._remembered.keep((project_id, reference), model_id)
        return model_id

    def recall(self, project_id: str, reference: str) -> str | None:
        """What was found last: enough to begin work, never to answer."""
        return self._remembered.recall((project_id, reference))

"""How far an import is, as its dataset shows it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Stage = Literal["fetching", "copying", "reading", "checking", "storing"]


class ImportProgress(BaseModel):
    """`fetching` the URL, `copying` between store and worker, `reading` names, `checking` pictures, `storing`."""

    model_config = ConfigDict(frozen=True)

    stage: Stage
    percent: float  # of the whole import
    bytes_done: int | None = None  # of this stage; `reading` counts what it unpacks
    bytes_total: int | None = None  # None where nobody knows
    members_done: int | None = None  # files while reading, pictures while checking
    members_total: int | None = None

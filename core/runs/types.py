"""The words of the run engine: kinds, claims, signals, failures and their budgets."""

from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict


class RunKind(StrEnum):
    IMPORT = "import"
    TRAIN = "train"
    PROBE = "probe"


QUEUES: dict[RunKind, str] = {RunKind.IMPORT: "imports", RunKind.TRAIN: "train", RunKind.PROBE: "train"}
PRIORITIES: dict[RunKind, int] = {RunKind.IMPORT: 0, RunKind.TRAIN: 0, RunKind.PROBE: 1}  # somebody waits for a probe


class StatusReason(BaseModel):
    """Why a run ended, in words for its owner."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    hint: str = ""
    owner: Literal["user", "data", "system"]
    retryable: bool = False


CANCELLED = StatusReason(
    code="cancelled", message="it was cancelled", hint="post its spec again to run it after all", owner="user"
)


class FailureClass(StrEnum):
    """What went wrong, as far as trying again is concerned."""

    USER = "user"  # the spec or the pictures: trying again gives the same
    CRASH = "crash"  # the child process died or raised
    NO_SPACE = "no_space"  # the disk of its worker is full
    FETCH = "fetch"  # a URL could not be reached, or its server broke off
    WORKER_LOST = "worker_lost"


BUDGET: dict[FailureClass, int] = {
    FailureClass.USER: 0,
    FailureClass.CRASH: 20,
    FailureClass.NO_SPACE: 5,
    FailureClass.FETCH: 4,
    FailureClass.WORKER_LOST: 20,
}
MAX_LOSSES = 3  # in a row, with no new checkpoint between them: the run itself is what kills
MAX_BACKOFF_SECONDS = 60
KILLERS = frozenset({FailureClass.CRASH, FailureClass.WORKER_LOST})  # the classes whose failures count as losses


class LostClaimError(Exception):
    """The run is no longer this attempt's: stop at once and publish nothing."""


class Claim(NamedTuple):
    """A worker's hold on a run; `attempt` fences all that it writes."""

    run_id: str
    project_id: str
    kind: RunKind
    attempt: int
    gpus: int = 0


class GpuOffer(NamedTuple):
    """The GPUs of a worker that looks for work."""

    free: int
    total: int

    @property
    def default(self) -> int:
        """What a run takes that names no number."""
        return min(1, self.total)


NO_GPUS = GpuOffer(free=0, total=0)


class Signal(StrEnum):
    """What a heartbeat brings back."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    PAUSE = "pause"
    OUT_OF_TIME = "out_of_time"

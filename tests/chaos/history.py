"""What a chaos run writes down: answers of the API, changes of runs, faults. The checker reads nothing else."""

from dataclasses import dataclass, field
from typing import Any, Literal

Expectation = Literal["model", "stop", "poison", "any"]
Table = Literal["attempts", "checkpoints", "models"]

POISONED = "job: kills its worker 3 times"
STOPPED_WORKER = "worker: SIGSTOP past the lease"
STOPPED_AT_POINT = "worker: SIGSTOP at a named point"
DAMAGED_CHECKPOINTS = "store: damaged checkpoints"  # the one fault that may cost progress


@dataclass(frozen=True)
class Accepted:
    """A job that the API took: its row, whether or not a client saw the 202.

    `expects`: a model equal to the undisturbed one; a cancel that may come too late; a failure as poison, if its worker
    was killed often enough; or, of a job that was starved of memory, any end.
    """

    job_id: str
    run_id: str
    variant: str  # jobs of one variant have one spec, and so one result
    expects: Expectation = "model"


@dataclass(frozen=True)
class Poll:
    """One answer of `GET /jobs/{id}`; times are seconds since the epoch."""

    at: float
    job_id: str
    status: str
    attempt: int
    stage: str | None = None
    step: int | None = None
    resumed_from_step: int | None = None  # of the newest attempt


@dataclass(frozen=True)
class Refusal:
    """An answer about an accepted job that is neither the job nor "try again"."""

    at: float
    job_id: str
    status_code: int
    text: str


@dataclass(frozen=True)
class Damage:
    """A row whose bytes are not in the store as it says."""

    job_id: str | None
    text: str


@dataclass(frozen=True)
class Change:
    """A run's status, attempt or worker as a trigger of the database saw it change."""

    at: float
    run_id: str
    status: str
    attempt: int
    worker_id: str | None


@dataclass(frozen=True)
class Write:
    """A row that an attempt wrote, beside the attempt that held the run at that moment."""

    at: float
    run_id: str
    table: Table
    attempt: int
    holder: int
    run_status: str
    step: int | None = None  # of a checkpoint


@dataclass(frozen=True)
class Attempt:
    """Where an attempt went on, as it said itself once its inputs were there."""

    run_id: str
    number: int
    resumed_from_step: int | None


@dataclass(frozen=True)
class End:
    """How a job stood in the end."""

    job_id: str
    status: str
    code: str | None
    weights_sha256: list[str]  # of its models


@dataclass(frozen=True)
class Import:
    """How a dataset stood in the end: all are of one archive."""

    dataset_id: str
    status: str  # of its run
    classes: list[dict[str, Any]] | None  # their samples by split, as the API shows them


@dataclass(frozen=True)
class Injected:
    """A fault as it was injected; `run_ids` are those that it hit, `healed_at` is when its cause was gone.

    `stopped_seconds`: from a user's answered request until the trainers of its run were gone.
    """

    fault: str
    at: float
    healed_at: float
    run_ids: list[str]
    detail: str = ""
    stopped_seconds: float | None = None


@dataclass
class History:
    seed: int
    slots: int  # of each worker
    references: dict[str, str] = field(default_factory=dict)  # SHA-256 of the undisturbed weights, by variant
    acknowledged: list[str] = field(default_factory=list)  # jobs whose 202 a client saw
    accepted: list[Accepted] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    ready_at: list[float] = field(default_factory=list)  # when `/readyz` said that all is well
    changes: list[Change] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)  # the first is undisturbed
    faults: list[Injected] = field(default_factory=list)
    broken_lanes: list[str] = field(default_factory=list)  # in which the suite itself failed
    damaged: list[Damage] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)  # processes, files and objects that nobody owns

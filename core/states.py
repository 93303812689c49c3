"""The states of a run and every way from one to another, as data (design: states of a run)."""

from enum import StrEnum


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EventType(StrEnum):
    """What a transition writes into the run's events, beside notes and progress of the run itself."""

    QUEUED = "queued"
    STARTED = "started"
    CANCEL_REQUESTED = "cancel_requested"
    PAUSE_REQUESTED = "pause_requested"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    REQUEUED = "requeued"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TERMINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})

TRANSITIONS: frozenset[tuple[RunStatus, EventType, RunStatus]] = frozenset(
    {
        (RunStatus.QUEUED, EventType.STARTED, RunStatus.RUNNING),
        (RunStatus.QUEUED, EventType.CANCELLED, RunStatus.CANCELLED),
        (RunStatus.QUEUED, EventType.PAUSED, RunStatus.PAUSED),
        (RunStatus.QUEUED, EventType.FAILED, RunStatus.FAILED),
        (RunStatus.PAUSED, EventType.QUEUED, RunStatus.QUEUED),
        (RunStatus.PAUSED, EventType.CANCELLED, RunStatus.CANCELLED),
        (RunStatus.RUNNING, EventType.CANCEL_REQUESTED, RunStatus.RUNNING),
        (RunStatus.RUNNING, EventType.PAUSE_REQUESTED, RunStatus.RUNNING),
        (RunStatus.RUNNING, EventType.CANCELLED, RunStatus.CANCELLED),
        (RunStatus.RUNNING, EventType.PAUSED, RunStatus.PAUSED),
        (RunStatus.RUNNING, EventType.REQUEUED, RunStatus.QUEUED),
        (RunStatus.RUNNING, EventType.SUCCEEDED, RunStatus.SUCCEEDED),
        (RunStatus.RUNNING, EventType.FAILED, RunStatus.FAILED),
    }
)

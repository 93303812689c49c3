"""How an attempt ends that did not succeed, as exceptions that carry what becomes of the run."""

import signal
from typing import Literal

from core.disk import is_disk_full
from core.errors import BituneError
from core.ingest.errors import ImportRejectedError
from core.runs.types import FailureClass, Signal, StatusReason
from core.storage_errors import ObjectCorruptError, ObjectMissingError
from core.trainer_protocol import ExitCode, Failed


class StopReason(Exception):  # noqa: N818 - not an error: somebody asked for it
    """The run was stopped: by its user, by its time limit, or because this worker shuts down."""

    def __init__(self, signal: Signal) -> None:
        super().__init__(signal)
        self.signal = signal


class AttemptFailedError(Exception):
    """The attempt failed; `failure` is charged, `reason` is what the user reads if it was the last."""

    def __init__(self, failure: FailureClass, reason: StatusReason) -> None:
        super().__init__(reason.message)
        self.failure = failure
        self.reason = reason


OUT_OF_TIME = StatusReason(
    code="max_runtime_exceeded",
    message="the job ran longer than its `max_runtime_seconds`",
    hint="raise `max_runtime_seconds`, or train fewer epochs",
    owner="user",
)


def describe_exit(status: int, said: Failed | None) -> AttemptFailedError:
    """`status` as `Popen.returncode` gives it: negative for a signal."""
    if status in {ExitCode.USER_ERROR, ExitCode.DIVERGED, ExitCode.OUT_OF_MEMORY} and said is not None:
        reason = StatusReason(code=said.code, message=said.message, hint=said.hint, owner="user")
        return AttemptFailedError(FailureClass.USER, reason)
    if status in {ExitCode.NO_SPACE, -signal.SIGBUS}:  # a mapped file that the disk cannot hold ends so
        return describe_full_disk()
    if status < 0:
        return AttemptFailedError(FailureClass.CRASH, _killed(-status))
    message = said.message if said is not None else f"the trainer ended with status {status}"
    reason = StatusReason(code="trainer_failed", message=message, hint="see the job's log", owner="system")
    return AttemptFailedError(FailureClass.CRASH, reason)


def describe_stall(seconds: float) -> AttemptFailedError:
    reason = StatusReason(
        code="trainer_stalled",
        message=f"the trainer made no step for {seconds:.0f} s and was killed",
        hint="a GPU or its driver may hang: look at the host; a very slow step needs a longer BITUNE_STALL_SECONDS",
        owner="system",
        retryable=True,
    )
    return AttemptFailedError(FailureClass.CRASH, reason)


def describe_error(error: BituneError) -> AttemptFailedError:
    """What the user asked for cannot be done, or the pictures do not allow it."""
    owner: Literal["data", "user"] = "data" if isinstance(error, ImportRejectedError) else "user"
    reason = StatusReason(code=error.code, message=error.message, hint=error.hint, owner=owner)
    return AttemptFailedError(FailureClass.USER, reason)


def describe_full_disk() -> AttemptFailedError:
    reason = StatusReason(
        code="no_space",
        message="the disk of its worker is full",
        hint="free some space below `BITUNE_HOME` of the workers; `bitune doctor` says how much there is",
        owner="system",
        retryable=True,
    )
    return AttemptFailedError(FailureClass.NO_SPACE, reason)


def describe_crash(error: Exception) -> AttemptFailedError:
    if is_disk_full(error):
        return describe_full_disk()
    if isinstance(error, ObjectCorruptError | ObjectMissingError):
        return _describe_damage(error)
    reason = StatusReason(
        code="worker_failed",
        message=f"the worker failed on it ({type(error).__name__})",
        hint="look into the worker's log",
        owner="system",
        retryable=True,
    )
    return AttemptFailedError(FailureClass.CRASH, reason)


def _describe_damage(error: BituneError) -> AttemptFailedError:
    """Tried again all the same: what was damaged on its way may come whole."""
    reason = StatusReason(
        code="stored_object_damaged",
        message=f"something that it needs is damaged or gone: {error.message}",
        hint="a dataset: import it again; a backbone: put its weights there again by `bitune backbones add`",
        owner="system",
    )
    return AttemptFailedError(FailureClass.CRASH, reason)


def _killed(number: int) -> StatusReason:
    return StatusReason(
        code="trainer_killed",
        message=f"the trainer process was killed by {signal.Signals(number).name}",
        hint="the usual cause is the memory of the host: a smaller batch or picture needs less",
        owner="system",
        retryable=True,
    )

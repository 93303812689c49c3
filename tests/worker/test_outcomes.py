import errno
import signal

import pytest

from core.errors import BituneError
from core.runs.types import FailureClass
from core.storage_errors import ObjectCorruptError, ObjectMissingError
from core.trainer_protocol import ExitCode, Failed
from worker.outcomes import describe_crash, describe_exit

SAID = Failed(code="diverged", message="the loss is not a number", hint="lower the learning rate")


@pytest.mark.parametrize("status", [ExitCode.USER_ERROR, ExitCode.DIVERGED, ExitCode.OUT_OF_MEMORY])
def test_what_the_user_can_mend_is_said_and_not_tried_again(status: ExitCode) -> None:
    failed = describe_exit(status, SAID)

    assert failed.failure is FailureClass.USER
    assert (failed.reason.code, failed.reason.owner, failed.reason.hint) == ("diverged", "user", SAID.hint)


def test_killed_trainer_is_tried_again() -> None:
    failed = describe_exit(-signal.SIGKILL, None)

    assert failed.failure is FailureClass.CRASH
    assert "SIGKILL" in failed.reason.message


def test_trainer_that_fails_without_a_word_is_ours() -> None:
    failed = describe_exit(ExitCode.INTERNAL, None)

    assert (failed.failure, failed.reason.owner) == (FailureClass.CRASH, "system")


def test_full_disk_of_the_worker_is_no_crash() -> None:
    failed = describe_crash(OSError(errno.ENOSPC, "No space left on device"))

    assert (failed.failure, failed.reason.code) == (FailureClass.NO_SPACE, "no_space")
    assert describe_crash(OSError(errno.EIO, "Input/output error")).failure is FailureClass.CRASH


def test_full_disk_of_the_trainer_is_said_by_its_status() -> None:
    assert describe_exit(ExitCode.NO_SPACE, None).reason.code == "no_space"


@pytest.mark.parametrize("error", [ObjectCorruptError, ObjectMissingError])
def test_damaged_object_is_said_with_what_the_operator_does(error: type[BituneError]) -> None:
    failed = describe_crash(error("object_damaged", "datasets/ds_a/1/shards/0.tar is not in the store"))

    assert (failed.failure, failed.reason.owner) == (FailureClass.CRASH, "system")
    assert failed.reason.code == "stored_object_damaged"
    assert "shards/0.tar" in failed.reason.message
    assert "bitune backbones add" in failed.reason.hint

"""Dies with the worker, so that nobody trains for nobody."""

import ctypes
import os
import signal
import sys
import threading

from core.trainer_protocol import ExitCode

PR_SET_PDEATHSIG = 1
STANDARD_INPUT = 0
WATCH_VARIABLE = "BITUNE_PARENT_PIPE"


def follow_parent() -> None:
    """By the kernel where it can, and by the end of a pipe on standard input everywhere."""
    if WATCH_VARIABLE not in os.environ:
        return  # run by hand
    die_with_parent()
    threading.Thread(target=_leave_at_end_of_input, name="parent", daemon=True).start()


def die_with_parent() -> None:
    """With the thread that started this process, where the kernel can; nothing more happens elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_at_end_of_input() -> None:
    while os.read(STANDARD_INPUT, 1):  # not sys.stdin: its lock, held by a daemon thread, aborts the interpreter's exit
        pass
    os._exit(ExitCode.INTERRUPTED)

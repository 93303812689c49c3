"""Limits that a process sets on itself before it touches what a stranger sent."""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading

from core.ingest.limits import IngestLimits

PR_SET_PDEATHSIG = 1
EXIT_ORPHANED = 3


def enter(limits: IngestLimits) -> None:
    """Memory, CPU, file size and open files are bounded from here on, and the process dies with its parent."""
    _die_with_parent()
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, limits.max_file_bytes)
    _limit(resource.RLIMIT_NOFILE, limits.max_open_files)
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # others refuse it or ignore it
        _limit(resource.RLIMIT_AS, limits.memory_bytes)


def die_by_signal() -> None:
    """With the thread that started this process, where the system has a signal for it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, allowed))


def _die_with_parent() -> None:
    """By signal, and by the end of standard input, which the parent holds open."""
    die_by_signal()
    threading.Thread(target=_leave_at_end_of_input, name="parent", daemon=True).start()


def _leave_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(EXIT_ORPHANED)

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
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
EXIT_ORPHANED = 3


def enter(limits: IngestLimits) -> None:
    """Memory, CPU, file size and open files are bounded from here on, and the process dies with its parent.

    It has no network either, where the system lets it give that up.
    """
    _leave_network()
    _die_with_parent()
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, limits.max_file_bytes)
    _limit(resource.RLIMIT_NOFILE, limits.max_open_files)
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # others refuse it or ignore it
        _limit(resource.RLIMIT_AS, limits.memory_bytes)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, allowed))


def _leave_network() -> None:
    """Before a second thread begins, or the kernel refuses, and before the death signal, which this would clear."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL(None)
            if library.unshare(CLONE_NEWNET) != 0:  # root alone may do so without a user namespace
                library.unshare(CLONE_NEWUSER | CLONE_NEWNET)


def _die_with_parent() -> None:
    """By signal where the system has one, and by the end of standard input, which the parent holds open."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_leave_at_end_of_input, name="parent", daemon=True).start()


def _leave_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(EXIT_ORPHANED)

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
LAST_CPU_SECONDS = 5  # between the signal that says what happened and the one that says nothing


def enter(limits: IngestLimits) -> None:
    """Memory, CPU, file size and open files are bounded from here on, and the process dies with its parent.

    It has no network either, where the system lets it give that up.
    """
    _leave_network()
    _die_with_parent()
    _ignore_what_is_for_the_parent()
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, LAST_CPU_SECONDS)
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


def _limit(kind: int, value: int, rest: int = 0) -> None:
    """`rest` is what the hard limit allows above the soft one."""
    _, inherited = resource.getrlimit(kind)
    hard = value + rest if inherited == resource.RLIM_INFINITY else min(value + rest, inherited)
    resource.setrlimit(kind, (min(value, hard), hard))


def _leave_network() -> None:
    """Before a second thread begins, or the kernel refuses, and before the death signal, which this would clear."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL(None)
            if library.unshare(CLONE_NEWNET) != 0:  # root alone may do so without a user namespace
                library.unshare(CLONE_NEWUSER | CLONE_NEWNET)


def _die_with_parent() -> None:
    """By signal, and by the end of standard input, which the parent holds open."""
    die_by_signal()
    threading.Thread(target=_leave_at_end_of_input, name="parent", daemon=True).start()


def _ignore_what_is_for_the_parent() -> None:
    """A service manager sends these to a worker and all its children; the worker ends them by itself."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _leave_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(EXIT_ORPHANED)

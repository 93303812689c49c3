"""How many cores this process may use, and on how many of them nobody computes right now."""

import os
import sys
from math import ceil
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds a period, or "max"
LOAD = Path("/proc/loadavg")  # its fourth field begins with how many threads of the machine run at this instant


def count_cores(quota: Path = QUOTA) -> int:
    """By affinity and a container's quota, where the system says so."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        used, period = quota.read_text().split()
        return max(1, min(allowed, ceil(int(used) / int(period))))
    except (OSError, ValueError):
        return allowed


def count_idle_cores(load: Path = LOAD) -> int:
    """The caller's own included; 1 where the system does not say.

    Whoever runs elsewhere on the machine counts as if he ran on a core of ours: rather too few than too many.
    """
    try:
        running = int(load.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 1
    return max(1, count_cores() - running + 1)

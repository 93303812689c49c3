"""Cores that nobody computes on right now."""

import os
from pathlib import Path

from core.settings import count_cores

LOAD = Path("/proc/loadavg")  # its fourth field begins with how many threads of the whole machine run at this instant


def count_idle_cores(load: Path = LOAD) -> int:
    """Of those that this process may use, the caller's own included; 1 where the system does not say."""
    try:
        running = int(load.read_text().split()[3].partition("/")[0])
    except OSError:
        return 1
    return max(1, min(count_cores(), (os.cpu_count() or 1) - running + 1))

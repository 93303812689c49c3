"""Python imports this at its start where the folder is on its path: the process says at its end how much it took."""

import atexit
import resource
import sys
from pathlib import Path

PEAK_PREFIX = "peak_rss_kb="


def _say_peak() -> None:
    """Its own, and that of the largest process that it forked."""
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            sys.stderr.write(f"{PEAK_PREFIX}{int(line.split()[1]) + of_children}\n")


if __name__ == "sitecustomize" and Path("/proc/self/status").exists():
    atexit.register(_say_peak)

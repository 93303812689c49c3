"""The one way in which the worker starts a process of `core.training`."""

import os
import subprocess
import sys
from typing import IO

KEPT_ENVIRONMENT = (
    "PATH",
    "PYTHONPATH",
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "GOMP_SPINCOUNT",
)
# At the end of a parallel loop OpenMP's threads spin for milliseconds before they sleep. Where others need the cores
# that is time which the thread that they wait for does not get: `benchmarks/shared_cores.py` says how much.
BRIEF_SPINS = {"GOMP_SPINCOUNT": "1000"}


def start_trainer(
    arguments: list[str], *, output: IO[bytes] | int, errors: int, variables: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Leads a session of its own, so that all of it can be killed, and dies with the thread that starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "core.training", *arguments],
        bufsize=0,
        stdin=subprocess.PIPE,  # the child leaves when this pipe closes: with us
        stdout=output,
        stderr=errors,
        env=_keep_environment() | variables,
        start_new_session=True,
    )


def _keep_environment() -> dict[str, str]:
    """The trainer sees no secret of ours."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return BRIEF_SPINS | kept | {"BITUNE_PARENT_PIPE": "1", "PYTHONUNBUFFERED": "1"}

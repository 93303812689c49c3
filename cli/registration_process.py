"""Starts `cli.registration`, so that whoever calls needs no torch."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cli.errors import LocalStackError


def run_registration(name: str, source: Path | None, environment: Mapping[str, str]) -> str:
    """What was taken from the source; without one the weights come from the hub. Raises LocalStackError saying why."""
    result = subprocess.run(
        [sys.executable, "-m", "cli.registration", name, *([] if source is None else [str(source)])],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise LocalStackError(f"the backbone {name} could not be registered: {result.stderr.strip()}")
    return result.stdout.strip()

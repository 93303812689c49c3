"""Starts `cli.demo`, which needs wheels that the rest of the command line does not."""

import sys
from importlib.util import find_spec
from pathlib import Path

from cli.commands import become
from cli.errors import LocalStackError

WHEELS = {"elpv_dataset": "elpv-dataset", "matplotlib": "matplotlib"}


def run_demo(home: Path) -> None:
    missing = [wheel for module, wheel in WHEELS.items() if find_spec(module) is None]
    if missing:
        raise LocalStackError(
            f'these wheels are missing: {", ".join(missing)}; install them with `pip install "bitune[local,demo]"`'
        )
    become([sys.executable, "-m", "cli.demo", str(home)])

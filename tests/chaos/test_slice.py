"""A short chaos run with a fixed seed. The long one, and the arms that must fail, are in `docs/reliability.md`."""

import re
import subprocess
import sys

import pytest


@pytest.mark.timeout(600)  # minutes on a slow machine, which may take all of QUIET_SECONDS for the last jobs
def test_no_job_is_lost() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seed", "4", "--minutes", "0.6", "--variants", "2"]

    finished = subprocess.run(command, capture_output=True, text=True, check=False)

    said = f"{finished.stdout}\n{finished.stderr}"
    last = (finished.stdout.splitlines() or [""])[-1]
    assert re.fullmatch(r"lost=0 doubled=0 corrupted=0 different=0 faults=\d+", last), said
    assert int(last.rsplit("=", 1)[1]) >= 10, said
    assert finished.returncode == 0, said

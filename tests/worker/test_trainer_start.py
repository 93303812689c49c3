"""What a trainer is started with."""

import subprocess
from pathlib import Path

import pytest

from tests.conditions import wait_until
from worker.trainer_start import start_trainer


def read_environment(variables: dict[str, str]) -> dict[str, str]:
    """Of a trainer, by Linux."""
    process = start_trainer([], output=subprocess.DEVNULL, errors=subprocess.DEVNULL, variables=variables)
    try:
        file = Path(f"/proc/{process.pid}/environ")
        wait_until(lambda: bool(file.read_text()), seconds=10)
        return dict(line.split("=", 1) for line in file.read_text().split("\0") if line)
    finally:
        process.kill()
        process.communicate()


def test_trainer_gets_what_it_needs_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITUNE_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    environment = read_environment({"RANK": "1"})

    assert (environment["OMP_NUM_THREADS"], environment["RANK"]) == ("3", "1")
    assert "BITUNE_DATABASE_URL" not in environment


@pytest.mark.parametrize(("set_by_operator", "spins"), [(None, "1000"), ("30", "30")])
def test_threads_of_a_trainer_spin_for_a_short_time(
    monkeypatch: pytest.MonkeyPatch, set_by_operator: str | None, spins: str
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if set_by_operator is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", set_by_operator)

    assert read_environment({})["GOMP_SPINCOUNT"] == spins

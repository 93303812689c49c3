"""Finds the processes of `core.training`: those that serve a job, by their log, and those that wait for one."""

import subprocess
from contextlib import suppress
from pathlib import Path


def find_pids(pattern: str) -> list[int]:
    """Processes whose command line matches."""
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def find_trainer_pids(home: Path) -> list[int]:
    """Those that serve a job whose work directory is below `home`."""
    return [pid for pid, log_path in _list_trainers() if log_path.is_relative_to(home)]


def find_trainer_pids_of_run(run_id: str) -> list[int]:
    return [pid for pid, log_path in _list_trainers() if log_path.parent.name.startswith(f"{run_id}-")]


def find_spare_pids(home: Path) -> list[int]:
    """Those that wait."""
    started_as_spares = find_pids(f"core.training --wait {home}")
    return [pid for pid in started_as_spares if pid not in find_trainer_pids(home)]


def _list_trainers() -> list[tuple[int, Path]]:
    """A command line may be a spare's; where standard output goes says what is being done."""
    found = []
    for pid in find_pids("core.training"):
        with suppress(OSError):  # it has ended
            found.append((pid, Path(f"/proc/{pid}/fd/1").readlink()))
    return found

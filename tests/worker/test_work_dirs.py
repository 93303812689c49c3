from pathlib import Path

from core.runs.types import Claim, RunKind
from worker.work_dirs import WorkDirs

HELD = Claim(run_id="run_1", project_id="proj_1", kind=RunKind.TRAIN, attempt=2)


def test_folder_of_an_attempt_goes_with_it(tmp_path: Path) -> None:
    dirs = WorkDirs(tmp_path, "worker_a")
    dirs.open()
    with dirs.attempt(HELD) as path:
        (path / "file").write_text("x")

    assert not path.exists()
    dirs.close()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_a_killed_worker_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "worker_dead" / "run_1-1"
    left.mkdir(parents=True)
    dirs = WorkDirs(tmp_path, "worker_a")

    dirs.open()

    assert not left.exists()
    dirs.close()


def test_folders_of_a_living_worker_stay(tmp_path: Path) -> None:
    living, other = WorkDirs(tmp_path, "worker_a"), WorkDirs(tmp_path, "worker_b")
    living.open()
    with living.attempt(HELD) as path:
        other.open()

        assert path.exists()
    living.close()
    other.close()

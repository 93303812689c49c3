import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from core.ingest.child import IngestResult, run_ingest
from core.ingest.errors import ImportRejectedError, IngestCrashedError, IngestStoppedError
from core.ingest.limits import MEBIBYTE, IngestLimits
from core.ingest.protocol import JOB_FILE, IngestJob, IngestProgress
from core.ingest.sandbox import EXIT_ORPHANED
from tests.pictures import Member, encode, make_archive, make_members, write_zip
from tests.small_disk import can_mount, small_disk

SMALL_CHILD = IngestLimits(memory_bytes=1024 * MEBIBYTE)


def _run(archive: Path, limits: IngestLimits = SMALL_CHILD) -> tuple[IngestResult, list[IngestProgress]]:
    work_dir = archive.parent / "work"
    work_dir.mkdir()
    progress: list[IngestProgress] = []
    job = IngestJob(archive=archive, limits=limits, test_fraction=0.2)
    return run_ingest(job, work_dir, should_stop=lambda: False, on_progress=progress.append), progress


def _refuse(archive: Path, limits: IngestLimits = SMALL_CHILD) -> ImportRejectedError:
    with pytest.raises(ImportRejectedError) as error:
        _run(archive, limits)
    return error.value


def _make_large_pictures() -> list[Member]:
    """Few bytes, many pixels: 36 million each, seconds of work."""
    content = encode(Image.new("1", (6_000, 6_000)))
    return [*make_members({"cat": 5, "dog": 5}), *((f"dog/large-{index}.png", content) for index in range(30))]


def test_child_makes_a_dataset(tmp_path: Path) -> None:
    result, progress = _run(make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10}))

    assert (result.num_samples, [item.name for item in result.classes]) == (20, ["cat", "dog"])
    assert set(result.files) == {
        "index.jsonl.gz",
        "report.json",
        "findings.jsonl",
        "samples.bin",
        "shards/0.tar",
        "thumbnails/0.tar",
    }
    assert all(path.stat().st_size > 0 for path in result.files.values())
    assert progress[0].stage == "reading"


def test_rejection_comes_with_its_code_and_hint(tmp_path: Path) -> None:
    error = _refuse(make_archive(tmp_path / "a.zip", {"cat": 10}))

    assert (error.code, error.hint.split(",")[0]) == ("one_class", "make a folder per class")


def test_child_out_of_memory_is_a_rejection(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10})

    assert _refuse(archive, IngestLimits(memory_bytes=MEBIBYTE)).code == "archive_unreadable"


def test_child_out_of_cpu_is_a_rejection(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", _make_large_pictures())

    assert _refuse(archive, IngestLimits(cpu_seconds=1)).code == "archive_unreadable"


def test_child_out_of_time_is_a_rejection(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", _make_large_pictures())

    assert _refuse(archive, IngestLimits(wall_seconds=0)).code == "import_timeout"


def test_stop_ends_the_child(tmp_path: Path) -> None:
    job = IngestJob(
        archive=write_zip(tmp_path / "a.zip", _make_large_pictures()), limits=IngestLimits(), test_fraction=0.2
    )

    with pytest.raises(IngestStoppedError):
        run_ingest(job, tmp_path, should_stop=lambda: True, on_progress=lambda _: None)

    assert not (tmp_path / "result.json").exists()


def test_failure_of_our_own_is_no_rejection(tmp_path: Path) -> None:
    with pytest.raises(IngestCrashedError, match="FileNotFoundError"):
        _run(tmp_path / "missing.zip")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_child_that_is_killed_from_outside_is_no_rejection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    _make_child_die(tmp_path, monkeypatch, number)

    with pytest.raises(IngestCrashedError, match=number.name):
        _run(make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10}))


def test_child_that_its_decoder_kills_is_a_rejection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_child_die(tmp_path, monkeypatch, signal.SIGSEGV)

    assert _refuse(make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10})).code == "archive_unreadable"


def _make_child_die(directory: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """As it starts, by its own hand."""
    monkeypatch.setenv("PYTHONPATH", str(directory))
    reset = "" if number is signal.SIGKILL else f"signal.signal({number:d}, signal.SIG_DFL)\n"
    (directory / "sitecustomize.py").write_text(f"import os, signal\n{reset}os.kill(os.getpid(), {number:d})\n")


def test_child_ignores_signals_that_are_for_its_worker(tmp_path: Path) -> None:
    with _open_endless_child(tmp_path) as child:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            child.send_signal(number)
        child.communicate(timeout=60)  # closes its input

    assert child.returncode == EXIT_ORPHANED


def test_child_leaves_when_its_parent_is_gone(tmp_path: Path) -> None:
    with _open_endless_child(tmp_path) as child:
        child.communicate(timeout=60)  # closes its input

    assert child.returncode == EXIT_ORPHANED


def _open_endless_child(directory: Path) -> subprocess.Popen[bytes]:
    """It is at work by now, on an archive whose opening never ends."""
    os.mkfifo(directory / "a.zip")
    job = IngestJob(archive=directory / "a.zip", limits=SMALL_CHILD, test_fraction=0.2)
    (directory / JOB_FILE).write_text(job.model_dump_json())
    child = subprocess.Popen(
        [sys.executable, "-m", "core.ingest", str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert b"reading" in child.stdout.readline()
    return child


def test_child_that_writes_too_much_fails(tmp_path: Path) -> None:
    with pytest.raises(IngestCrashedError, match="File too large"):
        _run(make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10}), IngestLimits(max_file_bytes=10_000))


@pytest.mark.skipif(not can_mount(), reason="this user may not mount a small disk")
def test_full_disk_is_neither_a_rejection_nor_a_crash(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10})
    job = IngestJob(archive=archive, limits=SMALL_CHILD, test_fraction=0.2)
    work_dir = tmp_path / "work"
    work_dir.mkdir()

    with small_disk(work_dir, mebibytes=1):
        (work_dir / "ballast").write_bytes(bytes(1_040_000))
        with pytest.raises(OSError, match="the disk is full") as caught:
            run_ingest(job, work_dir, should_stop=lambda: False, on_progress=lambda _: None)

    assert caught.value.errno == errno.ENOSPC


def test_child_sees_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITUNE_S3_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nsys.stderr.write(repr(dict(os.environ)))\n")

    _run(make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10}))

    environment = (tmp_path / "work" / "ingest.log").read_text()
    assert "PYTHONPATH" in environment
    assert "hunter2" not in environment

"""LitServe from the package index, in a virtual environment for as long as the benchmark runs."""

import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx

import benchmarks
from benchmarks.predict.published import ModelFiles
from cli.ports import LOOPBACK, find_free_port

PACKAGE = "litserve==0.2.19"
INSTALL_SECONDS = 300.0
START_SECONDS = 120.0
Engine = Literal["plain", "ours"]
ROOT = Path(benchmarks.__path__[0]).parent


class LitServeError(Exception):
    """It cannot be installed or does not start, so it is not measured."""


def install_litserve(folder: Path) -> Path:
    """The interpreter that has it, and sees what this one has. Raises LitServeError."""
    python = folder / "bin" / "python"
    try:
        _run([sys.executable, "-m", "venv", str(folder)])
        site_packages = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
        (Path(site_packages) / "host.pth").write_text(sysconfig.get_path("purelib") + "\n")
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE])
    except (OSError, subprocess.SubprocessError) as exc:
        raise LitServeError(f"{PACKAGE} cannot be installed: {exc}") from exc
    return python


@contextmanager
def serve_litserve(
    python: Path, files: ModelFiles, *, device: str, workers: int, engine: Engine, log: Path
) -> Iterator[str]:
    """The URL that predicts. All its processes end with this one: the guard kills their session."""
    port = find_free_port(set())
    guard = [sys.executable, "-m", "cli.guard", "SIGINT", "5"]
    app = [str(python), "-m", "benchmarks.predict.litserve_app"]
    arguments = [str(files.weights), str(files.card), str(port), device, str(workers), engine]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*guard, *app, *arguments], stdin=subprocess.PIPE, stdout=file, stderr=file, cwd=ROOT
        )
    url = f"http://{LOOPBACK}:{port}"
    try:
        _wait_for(process, url, log)
        yield f"{url}/predict"
    finally:
        process.communicate()  # closes the pipe that the guard holds


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip()[-300:])
    return done.stdout


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise LitServeError(f"it does not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.1)  # between two looks whether it is ready

"""Whole trainings on a device, as a worker starts them: whether they learn, repeat, and go on exactly."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import save_file

from benchmarks.made_dataset import make_dataset
from benchmarks.stepping import RANDOM_SHA256
from core.inference.backbone_catalog import describe_backbone
from core.inference.classifier import create_backbone
from core.resolution import BackboneFacts, DatasetFacts, resolve
from core.specs import OptimizationSpec, TrainingSpec
from core.trainer_protocol import (
    TASK_FILE,
    CheckpointSaved,
    ExitCode,
    Finished,
    Line,
    Metrics,
    TrainerJob,
    decode_line,
)

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2


class Size(NamedTuple):
    backbone: str
    image_size: int
    num_classes: int
    per_class: int
    epochs: int
    batch_size: int


class Runs(NamedTuple):
    test_accuracy: float
    guess: float  # of one class always
    seconds: float
    images_per_second: float
    repeats_exactly: bool
    resumes_exactly: bool
    interrupted_at_step: int


def try_runs(folder: Path, size: Size, device: str) -> Runs:
    """Trains three times: through, through again, and once interrupted and resumed."""
    weights = folder / "backbone.safetensors"
    save_file(create_backbone(size.backbone).state_dict(), weights)
    classes = make_dataset(
        folder / "data", num_classes=size.num_classes, per_class=size.per_class, side=size.image_size
    )
    began_at = time.monotonic()
    first = _start(folder / "first", folder, size, classes, device)
    _finish(first)
    seconds = time.monotonic() - began_at
    _finish(_start(folder / "second", folder, size, classes, device))
    step = _interrupt(_start(folder / "third", folder, size, classes, device), folder / "third")
    _finish(_start(folder / "third", folder, size, classes, device, resume=True))
    if f"from step {step} of" not in (folder / "third" / "log").read_text():
        raise RuntimeError("the third run began anew instead of going on")
    digests = {name: _digest(folder / name) for name in ("first", "second", "third")}
    finished = next(line for line in _read_lines(folder / "first") if isinstance(line, Finished))
    assert finished.speed is not None
    return Runs(
        test_accuracy=finished.metrics["test_accuracy"],
        guess=1 / size.num_classes,
        seconds=round(seconds, 1),
        images_per_second=round(size.batch_size / finished.speed.seconds_per_step, 1),
        repeats_exactly=digests["first"] == digests["second"],
        resumes_exactly=digests["first"] == digests["third"],
        interrupted_at_step=step,
    )


def _start(
    work_dir: Path, folder: Path, size: Size, classes: list[str], device: str, *, resume: bool = False
) -> "subprocess.Popen[bytes]":
    work_dir.mkdir(exist_ok=True)
    checkpoints = sorted((work_dir / "checkpoints").glob("*"), key=lambda path: path.stat().st_mtime)
    job = _make_job(work_dir, folder, size, classes, device, checkpoints[-1] if resume else None)
    (work_dir / TASK_FILE).write_text(job.model_dump_json())
    with (work_dir / "lines.jsonl").open("ab") as lines, (work_dir / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "core.training", str(work_dir)], stdout=lines, stderr=log)


def _make_job(
    work_dir: Path, folder: Path, size: Size, classes: list[str], device: str, resume_dir: Path | None
) -> TrainerJob:
    backbone = describe_backbone(size.backbone)
    training = {"image_size": size.image_size, "epochs": size.epochs, "batch_size": size.batch_size}
    of_random_weights = {"learning_rate": 0.1, "batch_norm": "batch"}  # which have no statistics worth keeping
    spec = TrainingSpec(
        backbone=size.backbone, training=OptimizationSpec.model_validate(training | of_random_weights), gpus=0
    )
    known = round(size.per_class * (1 - TEST_SHARE))
    facts = DatasetFacts(
        class_counts=dict.fromkeys(classes, round(known * (1 - VALIDATION_SHARE))), val_samples=1, test_samples=1
    )
    return TrainerJob(
        spec=resolve(spec, facts, BackboneFacts(sha256=RANDOM_SHA256, image_size=backbone.image_size)),
        classes=classes,
        backbone=backbone,
        weights_path=folder / "backbone.safetensors",
        device=device,
        dataset_dir=folder / "data",
        cache_dir=folder / "cache",
        output_dir=work_dir,
        resume_dir=resume_dir,
    )


def _finish(process: "subprocess.Popen[bytes]") -> None:
    if process.wait() != ExitCode.OK:
        raise RuntimeError(f"the trainer ended with {process.returncode}")


def _interrupt(process: "subprocess.Popen[bytes]", work_dir: Path) -> int:
    """As a worker that shuts down does, once two epochs are validated. Returns the step of the checkpoint."""
    while process.poll() is None and _count_validations(work_dir) < 2:
        time.sleep(0.05)  # between two looks at what it says
    process.send_signal(signal.SIGTERM)
    if process.wait() != ExitCode.INTERRUPTED:
        raise RuntimeError(f"the trainer ended with {process.returncode} instead of being interrupted")
    return max(line.step for line in _read_lines(work_dir) if isinstance(line, CheckpointSaved))


def _count_validations(work_dir: Path) -> int:
    return sum(isinstance(line, Metrics) and "val_accuracy" in line.values for line in _read_lines(work_dir))


def _read_lines(work_dir: Path) -> list[Line]:
    """Those that are whole."""
    content = (work_dir / "lines.jsonl").read_bytes()
    return [decode_line(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _digest(work_dir: Path) -> str:
    return hashlib.sha256((work_dir / "artifact" / "weights.safetensors").read_bytes()).hexdigest()

"""One attempt of training, from `job.json` to an exit code."""

import os
import signal
import threading
import traceback
from pathlib import Path

import torch

from core.errors import InvalidInputError
from core.trainer_protocol import JOB_FILE, ExitCode, Failed, Progress, TrainerJob
from core.training.data import SplitSamples, load_samples
from core.training.errors import DivergedError, InterruptedTraining
from core.training.methods.build import build_method
from core.training.networks import build_classifier
from core.training.recorder import Recorder
from core.training.trainer import Trainer


def run(work_dir: Path) -> ExitCode:
    """Never raises: what went wrong is said in a line and in the exit code."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    job = TrainerJob.model_validate_json((work_dir / JOB_FILE).read_text())
    recorder = Recorder.open(work_dir)
    try:
        train(job, recorder, stop)
    except InterruptedTraining:
        return ExitCode.INTERRUPTED
    except Exception as exc:  # noqa: BLE001 - the edge of the process: all becomes a line and a code
        traceback.print_exc()
        failed, code = describe(exc)
        recorder.say(failed)
        return code
    return ExitCode.OK


def train(job: TrainerJob, recorder: Recorder, stop: threading.Event) -> None:
    """The same job gives the same weights on the same hardware and versions."""
    make_deterministic(job)
    samples = load_samples(job, on_progress=lambda done, total: recorder.say_progress(_preparing(job, done, total)))
    _check(samples)
    classifier = build_classifier(job.backbone.name, job.weights_path, num_classes=len(job.classes))
    method = build_method(job.spec.method, classifier)
    Trainer(job, method, samples, recorder, should_stop=stop.is_set).run()


def make_deterministic(job: TrainerJob) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(job.spec.seed)
    if job.num_threads is not None:
        torch.set_num_threads(job.num_threads)


def describe(error: Exception) -> tuple[Failed, ExitCode]:
    match error:
        case InvalidInputError():
            return Failed(code=error.code, message=error.message, hint=error.hint), ExitCode.USER_ERROR
        case DivergedError():
            hint = "lower `learning_rate`, or train with a larger batch"
            return Failed(code="diverged", message=str(error), hint=hint), ExitCode.DIVERGED
        case torch.OutOfMemoryError() | MemoryError():
            hint = "lower `batch_size` or `image_size`"
            return Failed(code="out_of_memory", message="the memory is too small", hint=hint), ExitCode.OUT_OF_MEMORY
        case _:
            message = f"{type(error).__name__}: {error}"
            return Failed(code="internal_error", message=message, hint="see the job's log"), ExitCode.INTERNAL


def _check(samples: SplitSamples) -> None:
    if len(samples.train) < 2 or len(samples.val) == 0:
        raise InvalidInputError(
            "too_few_samples",
            f"{len(samples.train)} samples to train on and {len(samples.val)} to validate on",
            hint="add pictures, or change `validation_fraction`",
        )


def _preparing(job: TrainerJob, done: int, total: int) -> Progress:
    return Progress(stage="preparing", step=done, total_steps=total, epoch=0, total_epochs=job.spec.training.epochs)

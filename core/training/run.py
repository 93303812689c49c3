"""One attempt of training, from `job.json` to an exit code."""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import torch

from core.errors import BituneError
from core.trainer_protocol import JOB_FILE, ExitCode, Failed, Progress, TrainerJob
from core.training.data import SplitSamples, load_samples
from core.training.errors import DivergedError, InterruptedTraining
from core.training.journal import Journal
from core.training.methods.base import Method
from core.training.methods.build import build_method
from core.training.networks import build_classifier
from core.training.plan import Plan
from core.training.recorder import Recorder, open_recorder
from core.training.trainer import Trainer

CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")  # torch has no class for it

log = logging.getLogger(__name__)


def run(work_dir: Path) -> ExitCode:
    """Never raises: what went wrong is said in a line, in the log and in the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open_recorder(work_dir) as recorder:
        return _run_job(work_dir / JOB_FILE, recorder, should_stop=stop.is_set)


def train(job: TrainerJob, recorder: Recorder, *, should_stop: Callable[[], bool]) -> None:
    """The same job gives the same weights on the same hardware and versions."""
    if job.num_threads is not None:
        torch.set_num_threads(job.num_threads)
    samples = _load_samples(job, recorder, should_stop)
    plan = Plan.make(job.spec, train_samples=len(samples.train))
    final_samples = len(samples.test) or len(samples.val)
    journal = Journal(recorder, plan, val_samples=len(samples.val), final_samples=final_samples)
    Trainer(job, _build_method(job), samples, plan, journal, should_stop=should_stop).run()


def describe(error: Exception) -> tuple[Failed, ExitCode]:
    match error:
        case BituneError():
            return Failed(code=error.code, message=error.message, hint=error.hint), ExitCode.USER_ERROR
        case DivergedError():
            hint = "lower `learning_rate`, or train with a larger batch"
            return Failed(code="diverged", message=str(error), hint=hint), ExitCode.DIVERGED
        case _ if _is_out_of_memory(error):
            hint = "lower `batch_size` or `image_size`"
            return Failed(code="out_of_memory", message="the memory is too small", hint=hint), ExitCode.OUT_OF_MEMORY
        case _:
            message = f"{type(error).__name__}: {error}"
            return Failed(code="internal_error", message=message, hint="see the job's log"), ExitCode.INTERNAL


def _run_job(job_file: Path, recorder: Recorder, *, should_stop: Callable[[], bool]) -> ExitCode:
    try:
        train(TrainerJob.model_validate_json(job_file.read_text()), recorder, should_stop=should_stop)
    except InterruptedTraining:
        return ExitCode.INTERRUPTED
    except Exception as exc:
        log.exception("training failed")
        failed, code = describe(exc)
        recorder.say(failed)
        return code
    return ExitCode.OK


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in CPU_OUT_OF_MEMORY)


def _load_samples(job: TrainerJob, recorder: Recorder, should_stop: Callable[[], bool]) -> SplitSamples:
    """While it prepares, progress counts pictures instead of steps."""

    def on_progress(done: int, total: int) -> None:
        if should_stop():
            raise InterruptedTraining
        epochs = job.spec.training.epochs
        recorder.say_progress(Progress(stage="preparing", step=done, total_steps=total, epoch=0, total_epochs=epochs))

    return load_samples(job, on_progress=on_progress)


def _build_method(job: TrainerJob) -> Method:
    generator = torch.Generator().manual_seed(job.spec.seed)
    classifier = build_classifier(
        job.backbone,
        job.weights_path,
        image_size=job.spec.training.image_size,
        num_classes=len(job.classes),
        generator=generator,
    )
    return build_method(job.spec.method, classifier, generator)

"""One attempt of training, from `job.json` to an exit code."""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import torch

from core.disk import is_disk_full
from core.errors import BituneError
from core.inference.gpu_memory import limit_gpu_memory
from core.trainer_protocol import TASK, TASK_FILE, AnyTask, ExitCode, Failed, ProbeJob, Progress, TrainerJob
from core.training.checkpoint import State, load_state
from core.training.course import Course
from core.training.data import SplitSamples, load_samples
from core.training.determinism import make_deterministic
from core.training.errors import DivergedError, InterruptedTraining
from core.training.memory import is_out_of_memory
from core.training.probe import probe
from core.training.ranks import Ranks, join_ranks
from core.training.recorder import Recorder, open_recorder, open_silent_recorder

log = logging.getLogger(__name__)


def run(work_dir: Path) -> ExitCode:
    """Never raises: what went wrong is said in a line, in the log and in the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log.info("began")
    with open_recorder(work_dir) as recorder:
        return _do_task(work_dir / TASK_FILE, recorder, should_stop=stop.is_set)


def do(task: AnyTask, recorder: Recorder, *, should_stop: Callable[[], bool]) -> None:
    """The same job gives the same weights on the same hardware and versions."""
    device = torch.device(task.device)
    make_deterministic(device, num_threads=task.num_threads)
    limit_gpu_memory(device, share=task.gpu_memory_share)
    with join_ranks(device) as ranks, open_silent_recorder() as silence:
        voice = recorder if ranks.is_first else silence
        match task:
            case TrainerJob():
                _train(task, voice, ranks, should_stop)
            case ProbeJob():
                probe(task, voice, ranks, should_stop=should_stop)
            case _:
                assert_never(task)


def describe(error: Exception) -> tuple[Failed, ExitCode]:
    match error:
        case BituneError():
            return Failed(code=error.code, message=error.message, hint=error.hint), ExitCode.USER_ERROR
        case DivergedError():
            hint = 'lower `learning_rate`, or set `batch_norm` to "batch", which bears more'
            return Failed(code="diverged", message=str(error), hint=hint), ExitCode.DIVERGED
        case _ if is_disk_full(error):
            return Failed(code="no_space", message="the disk is full", hint="free some space"), ExitCode.NO_SPACE
        case _ if is_out_of_memory(error):
            hint = "lower `batch_size` or `image_size`"
            return Failed(code="out_of_memory", message="the memory is too small", hint=hint), ExitCode.OUT_OF_MEMORY
        case _:
            message = f"{type(error).__name__}: {error}"
            return Failed(code="internal_error", message=message, hint="see the job's log"), ExitCode.INTERNAL


def _do_task(task_file: Path, recorder: Recorder, *, should_stop: Callable[[], bool]) -> ExitCode:
    try:
        do(TASK.validate_json(task_file.read_bytes()), recorder, should_stop=should_stop)
    except InterruptedTraining:
        return ExitCode.INTERRUPTED
    except Exception as exc:
        log.exception("training failed")
        failed, code = describe(exc)
        recorder.say(failed)
        return code
    return ExitCode.OK


def _train(job: TrainerJob, recorder: Recorder, ranks: Ranks, should_stop: Callable[[], bool]) -> None:
    samples = _load_samples(job, recorder, should_stop)
    log.info("%d pictures are ready", sum(map(len, samples)))
    state = State() if job.resume_dir is None else load_state(job.resume_dir)
    Course(job, samples, state, recorder, ranks, should_stop=should_stop).run()


def _load_samples(job: TrainerJob, recorder: Recorder, should_stop: Callable[[], bool]) -> SplitSamples:
    """While it prepares, progress counts pictures instead of steps."""

    def on_progress(done: int, total: int) -> None:
        if should_stop():
            raise InterruptedTraining
        epochs = job.spec.training.epochs
        recorder.say_progress(Progress(stage="preparing", step=done, total_steps=total, epoch=0, total_epochs=epochs))

    return load_samples(job, on_progress=on_progress)

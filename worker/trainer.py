"""The life of one train run: prepare, start, store what it says, finish. Every write is fenced by the claim."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from core import jobs, models, speeds
from core.checkpoints import upload_checkpoint
from core.ids import make_id
from core.jobs import NewCheckpoint
from core.models import CARD_FILE, WEIGHTS_FILE, NewModel
from core.runs import claims
from core.runs.types import Claim, Signal
from core.storage_keys import checkpoint_prefix, model_prefix
from core.trainer_protocol import CheckpointSaved, ExitCode, Failed, Finished, Line, Measured, Metrics, Note
from worker.context import WorkerContext
from worker.heartbeat import Heartbeat
from worker.outcomes import StopReason, describe_exit, describe_stall
from worker.patience import GivenUpError, outwait, run_beside
from worker.preparation import PreparedJob, prepare_job
from worker.segments import SegmentWriter
from worker.storing import Storing
from worker.supervision import attended, is_stopped
from worker.trainer_process import TrainerProcess

LINE_WAIT_SECONDS = 0.5


def run_training(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path, devices: list[str]) -> None:
    """Runs one attempt until the run has succeeded; every other end is raised for the caller to settle."""
    prepared = _prepare(context, held, beat, work_dir, device="cuda" if devices else "cpu")
    if is_stopped(context, beat):
        raise StopReason(beat.why)
    _Training(context, held, beat, work_dir, prepared).run(devices)


def _prepare(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path, *, device: str) -> PreparedJob:
    def prepare() -> PreparedJob:
        return outwait(
            lambda: prepare_job(context, held, work_dir, device=device),
            seconds=context.settings.outage_seconds,
            stop=beat.stop,
        )

    try:
        return run_beside(prepare, give_up=lambda: is_stopped(context, beat))
    except GivenUpError as exc:
        raise StopReason(beat.why) from exc


class _Training:
    """One attempt: the process, and what it has said so far."""

    def __init__(
        self, context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path, prepared: PreparedJob
    ) -> None:
        self._context = context
        self._held = held
        self._beat = beat
        self._work_dir = work_dir
        self._job = prepared.job
        self._trainer_job = prepared.trainer_job
        self._size = prepared.size
        self._finished: Finished | None = None
        self._failed: Failed | None = None

    def run(self, devices: list[str]) -> None:
        process = TrainerProcess(self._work_dir, self._trainer_job, devices=devices, on_progress=self._beat.report)
        segments = SegmentWriter(self._context, self._held, self._job.id, process.log_path)
        storing = Storing(
            store_checkpoint=lambda line: self._outwait(lambda: self._store_checkpoint(line)),
            flush=lambda: self._outwait(segments.flush),
        )
        try:
            with attended(process, self._context, self._beat):
                self._take_lines(process, segments, storing)
            self._settle(process, storing)
        finally:
            storing.end()

    def _take_lines(self, process: TrainerProcess, segments: SegmentWriter, storing: Storing) -> None:
        while not process.is_done():
            line = process.next_line(LINE_WAIT_SECONDS)
            if self._is_unwanted():
                continue
            storing.check()
            if line is not None:
                self._take(line, segments, storing)
            if segments.is_due():
                storing.request_flush()

    def _take(self, line: Line, segments: SegmentWriter, storing: Storing) -> None:
        match line:
            case Metrics():
                segments.add(line)
                self._outwait(lambda: self._record_metrics(line))
            case CheckpointSaved():
                storing.add_checkpoint(line)
            case Note():
                self._outwait(lambda: self._record_note(line))
            case Finished():
                self._finished = line
            case Measured():
                raise TypeError("a training job measures nothing but itself")
            case Failed():
                self._failed = line

    def _record_metrics(self, line: Metrics) -> None:
        with self._context.transaction() as session:
            jobs.record_metrics(session, self._held, self._job.id, line.values)

    def _record_note(self, line: Note) -> None:
        with self._context.transaction() as session:
            claims.note(session, self._held, line.code, line.message, level=line.level, details=line.details)

    def _store_checkpoint(self, line: CheckpointSaved) -> None:
        prefix = checkpoint_prefix(self._job.id, self._held.attempt, line.step)
        manifest, stored = upload_checkpoint(
            self._context.storage, prefix, line.directory, files=line.files, step=line.step, epoch=line.epoch
        )
        new = NewCheckpoint(
            step=line.step,
            epoch=line.epoch,
            is_best=line.is_best,
            manifest_sha256=stored.sha256,
            size_bytes=manifest.size_bytes,
            metrics=line.metrics,
        )
        with self._context.transaction() as session:
            jobs.record_checkpoint(session, self._held, self._job.id, new)

    def _settle(self, process: TrainerProcess, storing: Storing) -> None:
        """Cancel and loss of the claim come first: whatever the process did meanwhile is not wanted any more."""
        status = process.close()
        ended_at = time.monotonic()

        def give_up() -> bool:
            is_late = time.monotonic() - ended_at > self._context.settings.handback_grace_seconds
            return self._is_unwanted() or (is_late and is_stopped(self._context, self._beat))

        storing.request_flush()
        storing.wait(give_up)
        if status == ExitCode.OK and self._finished is not None and not give_up():
            self._publish_unless(give_up, self._finished)
        elif is_stopped(self._context, self._beat):
            raise StopReason(self._beat.why)
        elif process.has_stalled:
            raise describe_stall(self._context.settings.stall_seconds)
        else:
            raise describe_exit(status, self._failed)

    def _publish_unless(self, give_up: Callable[[], bool], finished: Finished) -> None:
        try:
            run_beside(lambda: self._outwait(lambda: self._publish(finished)), give_up=give_up)
        except GivenUpError as exc:
            raise StopReason(self._beat.why) from exc

    def _publish(self, finished: Finished) -> None:
        model_id = make_id("model")
        prefix = model_prefix(model_id)
        weights = self._context.storage.put_file(prefix + WEIGHTS_FILE, finished.directory / WEIGHTS_FILE)
        card_file = self._context.storage.put_file(prefix + CARD_FILE, finished.directory / CARD_FILE)
        card = json.loads((finished.directory / CARD_FILE).read_text())
        new = NewModel(id=model_id, weights=weights, card_file=card_file, card=card)
        with self._context.transaction() as session:
            jobs.record_metrics(session, self._held, self._job.id, finished.metrics)
            self._record_speed(session, finished)
            models.publish_model(session, self._held, self._job, new)

    def _record_speed(self, session: Session, finished: Finished) -> None:
        if finished.speed is not None:
            speeds.record_job_speed(session, self._held, self._size, finished.speed)
        if self._trainer_job.resume_dir is None:
            jobs.record_duration(session, self._held, self._job.id, finished.seconds)

    def _is_unwanted(self) -> bool:
        return self._beat.lost or self._beat.why is Signal.CANCEL

    def _outwait(self, action: Callable[[], None]) -> None:
        outwait(action, seconds=self._context.settings.outage_seconds, stop=self._beat.stop)

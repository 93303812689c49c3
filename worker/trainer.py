"""The life of one train run: prepare, start, store what it says, finish. Every write is fenced by the claim."""

import json
import time
from pathlib import Path

from sqlalchemy.orm import Session

from core import job_records, models, speeds
from core.checkpoints import upload_checkpoint
from core.ids import make_id
from core.inference.model_card import CARD_FILE, WEIGHTS_FILE
from core.job_records import NewCheckpoint
from core.models import NewModel
from core.runs.types import Claim
from core.storage import StoredObject
from core.storage_keys import checkpoint_prefix, model_prefix
from core.trainer_protocol import CheckpointSaved, ExitCode, Failed, Finished, Line, Measured, Metrics, Note
from worker.context import WorkerContext
from worker.ending import Ending
from worker.heartbeat import Heartbeat
from worker.latest import LatestWriter
from worker.outcomes import AttemptFailedError, StopReason, describe_exit, describe_stall
from worker.preparation import PreparedJob, prepare_job
from worker.segments import SegmentWriter
from worker.storing import Storing
from worker.supervision import attended
from worker.trainer_process import LOG_FILE, TrainerProcess

LINE_WAIT_SECONDS = 0.5


def run_training(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path, devices: list[str]) -> None:
    """Runs one attempt until the run has succeeded; every other end is raised for the caller to settle."""
    ending = Ending(context, beat)
    device = "cuda" if devices else "cpu"
    prepared = ending.prepare(lambda: prepare_job(context, held, work_dir, device=device, give_up=ending.is_asked))
    if ending.is_asked():
        raise ending.reason
    Training(context, held, beat, ending, work_dir, prepared).run(devices)


class Training:
    """One attempt: the process, and what it has said so far."""

    def __init__(
        self,
        context: WorkerContext,
        held: Claim,
        beat: Heartbeat,
        ending: Ending,
        work_dir: Path,
        prepared: PreparedJob,
    ) -> None:
        self._context = context
        self._held = held
        self._beat = beat
        self._ending = ending
        self._work_dir = work_dir
        self._job = prepared.job
        self._trainer_job = prepared.trainer_job
        self._size = prepared.size
        self._latest = LatestWriter(context, held, prepared.job.id)
        self._segments = SegmentWriter(context, held, prepared.job.id, work_dir / LOG_FILE)
        self._finished: Finished | None = None
        self._failed: Failed | None = None

    def run(self, devices: list[str]) -> None:
        storing = Storing(lambda line: self._ending.outwait(lambda: self._store_checkpoint(line)))
        try:
            process = TrainerProcess(
                self._work_dir,
                self._trainer_job,
                devices=devices,
                spares=self._context.spares,
                on_progress=self._beat.report,
            )
            with attended(process, self._context, self._beat):
                self._take_lines(process, storing)
            self._settle(process, storing)
        finally:
            storing.end()

    def _take_lines(self, process: TrainerProcess, storing: Storing) -> None:
        while not process.is_done():
            line = process.next_line(LINE_WAIT_SECONDS)
            if self._ending.is_unwanted():
                continue
            storing.check()
            if line is not None:
                self._take(line, storing)
            if self._segments.is_due():
                storing.request(self._flush_segments)

    def _take(self, line: Line, storing: Storing) -> None:
        match line:
            case Metrics():
                self._segments.add(line)
                self._latest.add(line)
                storing.request(self._flush_latest)
            case CheckpointSaved():
                storing.add_checkpoint(line)
            case Note():
                self._latest.add(line)
                storing.request(self._flush_latest)
            case Finished():
                self._finished = line
            case Measured():
                raise TypeError("a training job measures nothing but itself")
            case Failed():
                self._failed = line

    def _flush_latest(self) -> None:
        self._ending.outwait(self._latest.flush)

    def _flush_segments(self) -> None:
        self._ending.outwait(self._segments.flush)

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
            job_records.record_checkpoint(session, self._held, self._job.id, new)

    def _settle(self, process: TrainerProcess, storing: Storing) -> None:
        """What the process and the user said decides; servers that are away only where there is something to publish.

        Cancel and loss of the claim come first: whatever the process did meanwhile is not wanted any more.
        """
        status = process.close()
        storing.request(self._flush_latest)
        storing.request(self._flush_segments)
        if status == ExitCode.OK and self._finished is not None and not self._ending.is_unwanted():
            storing.wait(self._ending.is_overdue)
            storing.check()
            finished = self._finished
            new = self._upload_model(finished)
            self._ending.finish(lambda: self._publish(finished, new))
            return
        reason = self._find_reason(process, status)
        deadline = time.monotonic() + self._context.settings.handback_grace_seconds
        storing.wait(lambda: self._ending.is_overdue() or time.monotonic() > deadline)
        raise reason

    def _find_reason(self, process: TrainerProcess, status: int) -> StopReason | AttemptFailedError:
        if self._ending.is_asked():
            return self._ending.reason
        if process.has_stalled:
            return describe_stall(self._context.settings.stall_seconds)
        return describe_exit(status, self._failed)

    def _upload_model(self, finished: Finished) -> NewModel:
        """Once: a database that is away costs no second upload."""
        model_id = make_id("model")

        def upload(name: str) -> StoredObject:
            key, path = model_prefix(model_id) + name, finished.directory / name
            return self._ending.finish(lambda: self._context.storage.put_file(key, path))

        weights, card_file = upload(WEIGHTS_FILE), upload(CARD_FILE)
        card = json.loads((finished.directory / CARD_FILE).read_text())
        return NewModel(id=model_id, weights=weights, card_file=card_file, card=card)

    def _publish(self, finished: Finished, new: NewModel) -> None:
        with self._context.transaction() as session:
            job_records.record_metrics(session, self._held, self._job.id, finished.metrics)
            self._record_speed(session, finished)
            models.publish_model(session, self._held, self._job, new)

    def _record_speed(self, session: Session, finished: Finished) -> None:
        if finished.speed is not None:
            speeds.record_job_speed(session, self._held, self._size, finished.speed)
        if self._trainer_job.resume_dir is None:
            job_records.record_duration(session, self._held, self._job.id, finished.seconds)

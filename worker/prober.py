"""The life of one probe: a few steps on this machine, whose speed serves estimates."""

from pathlib import Path
from typing import NamedTuple

from core.backbones import get_backbone
from core.runs.types import Claim
from core.specs import BackboneDescription
from core.speeds import get_probe_request, record_probe
from core.trainer_protocol import Failed, Measured, ProbeJob, Progress
from worker.context import WorkerContext
from worker.ending import Ending
from worker.heartbeat import Heartbeat
from worker.outcomes import describe_exit, describe_stall
from worker.preparation import fetch_weights
from worker.supervision import attended
from worker.trainer_process import TrainerProcess

LINE_WAIT_SECONDS = 0.2


class _Said(NamedTuple):
    measured: Measured | None
    failed: Failed | None


def run_probe(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path, devices: list[str]) -> None:
    """Every end but success is raised for the caller to settle."""
    ending = Ending(context, beat)
    job = ending.prepare(lambda: _prepare(context, held, devices))
    process = TrainerProcess(work_dir, job, devices=devices, spares=context.spares, on_progress=_ignore)
    with attended(process, context, beat):
        said = _listen(process)
    if ending.is_asked():
        raise ending.reason
    if process.has_stalled:
        raise describe_stall(context.settings.stall_seconds)
    measured = said.measured
    if measured is None:
        raise describe_exit(process.close(), said.failed)
    ending.finish(lambda: _record(context, held, measured))


def _record(context: WorkerContext, held: Claim, measured: Measured) -> None:
    with context.transaction() as session:
        record_probe(session, held, measured.speed)


def _prepare(context: WorkerContext, held: Claim, devices: list[str]) -> ProbeJob:
    with context.transaction() as session:
        request = get_probe_request(session, held)
        backbone = get_backbone(session, request.spec.backbone, request.spec.backbone_sha256)
    return ProbeJob(
        spec=request.spec,
        classes=request.classes,
        backbone=BackboneDescription.model_validate(backbone.description),
        weights_path=fetch_weights(context, backbone),
        device="cuda" if devices else "cpu",
        gpu_memory_share=context.settings.training_gpu_memory_share,
    )


def _listen(process: TrainerProcess) -> _Said:
    said = _Said(None, None)
    while not process.is_done():
        match process.next_line(LINE_WAIT_SECONDS):
            case Measured() as line:
                said = said._replace(measured=line)
            case Failed() as line:
                said = said._replace(failed=line)
            case _:  # notes of the method: they are for those who train
                continue
    return said


def _ignore(progress: Progress) -> None:
    """A probe is over before anybody looks."""

"""Which faults come, by seed: three lanes side by side, each one fault after the other."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import structlog

from tests.chaos.history import History, Injected
from tests.chaos.import_faults import ImportFaults
from tests.chaos.job_faults import JobFaults
from tests.chaos.process_faults import ProcessFaults
from tests.chaos.s3_faults import Corrupt
from tests.chaos.sabotage import Control
from tests.chaos.server_faults import ServerFaults
from tests.chaos.stack import Stack

log = structlog.get_logger()

Inject = Callable[[random.Random], Injected | None]
PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Lane:
    """Faults with their weights, and the longest pause between two."""

    name: str
    faults: Sequence[tuple[Inject, float]]
    pause_seconds: float


@dataclass(frozen=True)
class Planned:
    """A fault that comes, the numbers that it may draw, and the pause after it."""

    inject: Inject
    rng: random.Random
    pause_seconds: float


def make_lanes(processes: ProcessFaults, servers: ServerFaults, jobs: JobFaults, imports: ImportFaults) -> list[Lane]:
    return [
        Lane(
            "processes",
            [
                (processes.kill_trainer, 8),
                (processes.kill_worker, 4),
                (processes.kill_at_point, 3),
                (processes.stop_worker, 8),
                (processes.stop_at_point, 2),
                (processes.terminate_worker, 1),
                (processes.kill_api, 1),
            ],
            PAUSE_SECONDS,
        ),
        Lane(
            "servers",
            [
                (servers.disturb_store, 10),
                (servers.kill_broker, 3),
                (servers.flush_broker, 3),
                (servers.send_hints, 2),
                (servers.restart_postgres, 2),
                (servers.fill_disk, 1),
            ],
            8.0,
        ),
        Lane(
            "jobs",
            [
                (jobs.cancel, 4),
                (jobs.pause, 3),
                (jobs.cancel_hanging, 2),
                (jobs.cancel_pausing, 1),
                (imports.kill_importer, 1),
                (jobs.poison, 1),
                (processes.hang_trainer, 1),
                (processes.starve_trainer, 1),
            ],
            6.0,
        ),
    ]


def make_control_lanes(control: Control, processes: ProcessFaults, stack: Stack) -> list[Lane]:
    """The faults that the missing protection is there for."""
    match control:
        case Control.NO_FENCE:
            return [Lane("stops", [(processes.stop_worker, 1)], PAUSE_SECONDS)]
        case Control.NO_SWEEP:
            return [Lane("kills", [(processes.kill_worker, 1)], PAUSE_SECONDS)]
        case Control.NO_CHECKSUM:
            stack.proxy.set_fault(Corrupt(key_pattern=r"/checkpoints/.*safetensors$"))
            return [Lane("kills", [(processes.kill_trainer, 1)], PAUSE_SECONDS)]


def plan_faults(lane: Lane, *, seed: int) -> Iterator[Planned]:
    """The seed alone decides: what one fault draws, which depends on timing, moves none of the others."""
    injects, weights = zip(*lane.faults, strict=True)
    choices = _make_rng(f"{seed} {lane.name}")
    for number in count():
        (inject,) = choices.choices(injects, weights)
        yield Planned(inject, _make_rng(f"{seed} {lane.name} {number}"), choices.uniform(0, lane.pause_seconds))


def run_lanes(lanes: Sequence[Lane], history: History, *, seconds: float) -> None:
    """A lane in which the suite itself fails ends early, and the history says so."""
    deadline = time.monotonic() + seconds
    threads = [threading.Thread(target=_run_lane, args=(lane, history, deadline)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run_lane(lane: Lane, history: History, deadline: float) -> None:
    try:
        for planned in plan_faults(lane, seed=history.seed):
            if time.monotonic() > deadline:
                return
            injected = planned.inject(planned.rng)
            if injected is not None:
                history.faults.append(injected)
                log.info("fault", fault=injected.fault, jobs=len(injected.run_ids), detail=injected.detail)
            time.sleep(planned.pause_seconds)
    except Exception as exc:
        log.exception("lane_ended", lane=lane.name)
        history.broken_lanes.append(f"{lane.name}: {exc!r}")


def _make_rng(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a schedule that replays, no secret

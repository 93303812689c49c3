"""Two processes that train together are as one with the joined batch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cli.ports import LOOPBACK, find_free_port
from core.trainer_protocol import TASK_FILE, Line, Metrics, decode_line
from core.training.checkpoint import TENSORS_FILE
from tests.core.training.jobs import BACKBONE, BI_TUNING, make_job, make_spec, run_job

WITHOUT_BATCH_NORM = "test_convnext"  # a batch's statistics would be those of a rank's share
LAST_STEP = 6
PATIENCE_SECONDS = 120


class Outcome(NamedTuple):
    """What one process and two have said, and the method's state on each."""

    alone: list[Metrics]
    together: list[Metrics]
    state_alone: dict[str, Tensor]
    states: list[dict[str, Tensor]]


@pytest.fixture(
    scope="module",
    params=[(WITHOUT_BATCH_NORM, "batch"), (BACKBONE, "pretrained")],
    ids=["without batch norm", "pretrained statistics"],
)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    work_dir = tmp_path_factory.mktemp("ranks")
    backbone, batch_norm = request.param
    spec = make_spec(BI_TUNING, epochs=2, backbone=backbone, batch_norm=batch_norm)
    job = make_job(work_dir, spec).model_copy(update={"checkpoint_interval_seconds": 0})
    (work_dir / TASK_FILE).write_text(job.model_dump_json())

    together = train_together(work_dir)
    alone = run_job(job)
    tensors = load_file(job.output_dir / "checkpoints" / str(LAST_STEP) / TENSORS_FILE)
    state = {name.removeprefix("method/"): value for name, value in tensors.items() if name.startswith("method/")}
    states = [load_file(work_dir / f"rank{rank}.safetensors") for rank in range(2)]
    return Outcome(only_metrics(alone), only_metrics(together), state, states)


def train_together(work_dir: Path) -> list[Line]:
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": LOOPBACK, "MASTER_PORT": str(find_free_port(set()))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.core.training.rank_process", str(work_dir)],
            stdout=subprocess.PIPE,
            env=os.environ | group | {"RANK": str(rank)},
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said[1] == b""
    return [decode_line(raw) for raw in said[0].splitlines()]


def only_metrics(lines: list[Line]) -> list[Metrics]:
    return [line for line in lines if isinstance(line, Metrics)]


def test_ranks_end_with_the_same_weights_and_queues(outcome: Outcome) -> None:
    first, second = outcome.states

    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_losses_are_those_of_one_process_with_the_joined_batch(outcome: Outcome) -> None:
    assert [line.step for line in outcome.alone] == [3, 6]
    for one, other in zip(outcome.alone, outcome.together, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-5)


def test_weights_and_queues_are_those_of_one_process(outcome: Outcome) -> None:
    one, other = outcome.state_alone, outcome.states[0]

    assert one.keys() == other.keys()
    assert max(float((one[name].double() - other[name].double()).abs().max()) for name in one) < 1e-5

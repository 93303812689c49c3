"""When memory does not suffice: smaller micro-batches, the same batch."""

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.trainer_protocol import Line, Note, decode_line
from core.training.checkpoint import State
from core.training.contenders import build_contender
from core.training.losses import CrossEntropy
from core.training.methods.base import Batch, Method
from core.training.methods.vanilla import Vanilla
from core.training.ranks import Ranks
from core.training.recorder import Recorder
from tests.core.training.jobs import BATCH_SIZE, BI_TUNING, VANILLA, make_job, make_spec, run_job
from tests.core.training.trainers import make_trainer

WITHOUT_BATCH_NORM = "test_convnext"


class Hungry(Vanilla):
    """Runs out of memory above so many samples at once."""

    def __init__(self, method: Method, limit: int) -> None:
        super().__init__(method.classifier, CrossEntropy())
        self._limit = limit

    def compute_losses(self, batch: Batch, part: slice) -> dict[str, Tensor]:
        if part.stop - part.start > self._limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().compute_losses(batch, part)


def train(directory: Path, *, limit: int) -> tuple[State, list[Line]]:
    job = make_job(directory, make_spec(VANILLA, epochs=1, backbone=WITHOUT_BATCH_NORM))
    out, state = io.BytesIO(), State()
    method = Hungry(build_contender(job, 0), limit)
    make_trainer(job, method, Recorder(out), Ranks(), state).run()
    return state, [decode_line(raw) for raw in out.getvalue().splitlines()]


def test_micro_batch_is_halved_until_it_fits_and_said(tmp_path: Path) -> None:
    state, lines = train(tmp_path, limit=1)

    notes = [line for line in lines if isinstance(line, Note)]
    assert [(note.code, note.details["micro_batch_size"]) for note in notes] == [
        ("micro_batch_halved", 2),
        ("micro_batch_halved", 1),
    ]
    assert state.counters.micro_batch_size == 1
    assert state.counters.step == 3


def test_halved_micro_batches_learn_the_same(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", limit=BATCH_SIZE)
    parted, _ = train(tmp_path / "parted", limit=1)

    assert whole.counters.micro_batch_size is None
    for name, weights in whole.best_weights.items():
        torch.testing.assert_close(weights, parted.best_weights[name], atol=1e-5, rtol=1e-4)


def test_memory_too_small_for_one_sample_ends_training(tmp_path: Path) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        train(tmp_path, limit=0)


def test_key_encoder_follows_once_a_step_whatever_the_micro_batch(tmp_path: Path) -> None:
    """Twice a step would be another momentum."""
    whole, parted = (
        make_job(tmp_path / str(size), make_spec(BI_TUNING, backbone=WITHOUT_BATCH_NORM, micro_batch_size=size))
        for size in (BATCH_SIZE, 1)
    )

    lines, lines_parted = run_job(whole), run_job(parted)

    for one, other in zip(lines[:-1], lines_parted[:-1], strict=True):
        assert one.type == other.type == "metrics"
        assert one.values == pytest.approx(other.values, abs=1e-4)

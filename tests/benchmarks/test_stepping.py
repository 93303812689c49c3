"""The step that is timed is the step that trains."""

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.stepping import EPOCHS, STEPS_AN_EPOCH, Shape, Stepper, make_job
from core.specs import BiTuningSpec, LinearProbeSpec, MethodSpec, VanillaSpec
from core.training.checkpoint import State
from core.training.checkpoint_writer import CheckpointWriter
from core.training.contenders import build_contender
from core.training.data import SplitSamples
from core.training.errors import InterruptedTraining
from core.training.journal import Journal
from core.training.plan import Plan
from core.training.probe import make_noise
from core.training.ranks import Ranks
from core.training.recorder import Recorder
from core.training.trainer import Trainer
from tests.core.training.jobs import BACKBONE, IMAGE_SIZE, StopAfter, make_weights

SHAPE = Shape(BACKBONE, IMAGE_SIZE, num_classes=3, batch_size=4, precision="fp32")
CPU = torch.device("cpu")
STEPS = 3
RATE = 10.0  # the first steps of so many have a small part of it


def train(method: MethodSpec, weights: Path, directory: Path) -> dict[str, Tensor]:
    """The state after a few steps of the real trainer."""
    job = make_job(SHAPE, method, weights, CPU, learning_rate=RATE)
    samples = make_noise(IMAGE_SIZE, count=SHAPE.batch_size * STEPS_AN_EPOCH, num_classes=SHAPE.num_classes)
    plan = Plan(epochs=EPOCHS, steps_per_epoch=STEPS_AN_EPOCH, batch_size=SHAPE.batch_size)
    journal = Journal(Recorder(io.BytesIO()), plan, job.spec.contenders, val_samples=0, final_samples=0)
    writer = CheckpointWriter(directory, journal, Ranks(), interval_seconds=1e9)
    trainee = build_contender(job, 0)
    trainer = Trainer(
        job,
        trainee,
        SplitSamples(train=samples, val=samples, test=samples),
        plan,
        journal,
        State(),
        writer,
        Ranks(),
        should_stop=StopAfter(STEPS),
    )
    with pytest.raises(InterruptedTraining):
        trainer.run()
    return trainee.state_dict()


@pytest.mark.parametrize("method", [BiTuningSpec(), VanillaSpec(), LinearProbeSpec()])
def test_timed_steps_leave_what_the_trainer_leaves(method: MethodSpec, tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "weights.safetensors")
    stepper = Stepper(SHAPE, method, weights, CPU, learning_rate=RATE)
    before = {name: value.clone() for name, value in stepper.method.state_dict().items()}

    for _ in range(STEPS):
        stepper.step()

    trained, timed = train(method, weights, tmp_path / "checkpoints"), stepper.method.state_dict()
    assert trained.keys() == timed.keys()
    assert all(torch.equal(trained[name], timed[name]) for name in trained)
    assert any(not torch.equal(before[name], timed[name]) for name in before)

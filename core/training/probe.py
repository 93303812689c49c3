"""A few steps on made-up pictures, to see how fast this machine trains."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from core.trainer_protocol import Measured, ProbeJob
from core.training.cache import CANVAS_SHARE, PixelCache
from core.training.checkpoint import State
from core.training.checkpoint_writer import CheckpointWriter
from core.training.contenders import build_contender
from core.training.data import SampleSet, SplitSamples
from core.training.journal import Journal
from core.training.plan import Plan
from core.training.ranks import Ranks
from core.training.recorder import Recorder, open_silent_recorder
from core.training.trainer import Trainer

STEPS = 3
LEARNING_RATE = 1e-9
PICTURES = 64  # each is taken as often as a batch needs


def probe(job: ProbeJob, recorder: Recorder, ranks: Ranks, *, should_stop: Callable[[], bool]) -> None:
    """Every contender trains twice: the first time warms up."""
    job = _make_tame(job)
    samples = _make_samples(job)
    with tempfile.TemporaryDirectory() as directory, open_silent_recorder() as silence:
        _train(job, samples, Path(directory), silence, ranks, should_stop)
        journal = _train(job, samples, Path(directory), silence, ranks, should_stop)
    speed = journal.measure(torch.device(job.device))
    if speed is not None:
        recorder.say(Measured(speed=speed))


def _train(
    job: ProbeJob,
    samples: SplitSamples,
    directory: Path,
    recorder: Recorder,
    ranks: Ranks,
    should_stop: Callable[[], bool],
) -> Journal:
    plan = Plan(epochs=1, steps_per_epoch=STEPS, batch_size=job.spec.training.batch_size)
    contenders, state = job.spec.contenders, State()
    journal = Journal(recorder, plan, contenders, val_samples=len(samples.val), final_samples=0)
    writer = CheckpointWriter(directory, journal, ranks, interval_seconds=float("inf"))
    for index in range(len(contenders)):
        method = build_contender(job, index)
        Trainer(job, method, samples, plan, journal, state, writer, ranks, should_stop=should_stop).run()
        state.finish_contender()
    return journal


def _make_tame(job: ProbeJob) -> ProbeJob:
    """The rate costs no time, but with one that suits real pictures noise may make the loss diverge."""
    training = job.spec.training.model_copy(update={"learning_rate": LEARNING_RATE})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"training": training})})


def _make_samples(job: ProbeJob) -> SplitSamples:
    size, num_classes = job.spec.training.image_size, len(job.classes)
    train = make_noise(size, count=STEPS * job.spec.training.batch_size, num_classes=num_classes)
    return SplitSamples(train=train, val=make_noise(size, count=PICTURES, num_classes=num_classes), test=train)


def make_noise(size: int, *, count: int, num_classes: int) -> SampleSet:
    """Samples of noise: what a picture shows does not change what it costs."""
    random, side = np.random.default_rng(0), round(CANVAS_SHARE * size)
    cache = PixelCache(
        squares=random.integers(0, 256, (PICTURES, size, size, 3), dtype=np.uint8),
        canvases=random.integers(0, 256, (PICTURES, side, side, 3), dtype=np.uint8),
        sizes=np.full((PICTURES, 2), side),
        has_square=np.ones(PICTURES, dtype=np.bool_),
    )
    return SampleSet(
        cache=cache,
        rows=np.arange(count) % PICTURES,
        labels=torch.arange(count) % num_classes,
        sample_ids=[str(number) for number in range(count)],
        paths=[""] * count,
    )
